"""The decoder that looks at no activity: mean and spread of the labels, or how frequent each class is."""

from __future__ import annotations

import numpy as np

from neuroformer.baselines.decoding.decoder import Decoder
from neuroformer.baselines.decoding.samples import Samples
from neuroformer.baselines.decoding.target import Prediction


class NullDecoder(Decoder):
    """Mean or majority: what any decoder must beat. Of a circular target it gives the circular mean."""

    name = "null"

    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        y = samples.y
        if self.target.kind == "categorical":
            counts = np.bincount(y, minlength=self.target.n_classes) + 1.0  # Laplace's rule of succession
            self._probability = counts / counts.sum()
            return
        self._mean = self.target.decode(self.target.encode(y).mean(0, keepdims=True))
        self._spread = np.sqrt((self.target.error(y, self._mean) ** 2).mean(0, keepdims=True))

    def _predict(self, x: list[np.ndarray]) -> Prediction:
        if self.target.kind == "categorical":
            return Prediction(probability=[np.tile(self._probability, (len(part), 1)) for part in x])
        return Prediction(
            mean=[np.tile(self._mean, (len(part), 1)) for part in x],
            spread=[np.tile(self._spread, (len(part), 1)) for part in x],
        )
