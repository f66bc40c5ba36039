"""Ridge regression on lagged features: the Wiener filter with a penalty.

Features and penalty as in Glaser et al. 2020 (eNeuro 7:ENEURO.0506-19.2020), whose Wiener filter has no penalty and
falls behind with few labels; here window, stretches of the window and penalty are chosen together. A circular target
is regressed as cosine and sine.
"""

from __future__ import annotations

import numpy as np

from neuroformer.baselines.decoding.decoder import Decoder, in_pieces
from neuroformer.baselines.decoding.history import History, Scaler, histories
from neuroformer.baselines.decoding.ridge_path import RidgePath
from neuroformer.baselines.decoding.samples import Samples, blocked_folds
from neuroformer.baselines.decoding.target import Prediction, Target
from neuroformer.settings.decoding import RidgeConfig


class RidgeDecoder(Decoder):
    """Linear in the past.

    The spread is that of the errors on bins left out, larger where the features are unlike those fitted to.
    """

    name = "ridge"
    kinds = ("continuous",)

    def __init__(self, target: Target, *, bin_s: float, config: RidgeConfig | None = None) -> None:
        """See the class."""
        super().__init__(target, bin_s=bin_s)
        self.config = config or RidgeConfig()

    def _candidates(self, n: int, n_units: int) -> list[History]:
        c = self.config
        found = histories(c.windows_s, c.taps, bin_s=self.bin_s, centered=c.centered)
        quick = [h for h in found if min(n, h.taps * n_units) <= c.largest]
        return quick or [min(found, key=lambda h: (h.taps, h.window))]

    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        n = len(samples)
        self._scaler = Scaler(samples.x)
        scaled = self._scaler(samples.x)
        scaled_validation = None if validation is None else self._scaler(validation.x)
        z = self.target.encode(samples.y)
        candidates = self._candidates(n, samples.n_units)
        gap = max(h.window for h in candidates)
        folds = [] if validation is not None else blocked_folds(samples, folds=self.config.folds, gap=gap)
        variance = np.maximum(z.var(0), 1e-12 * np.maximum(1, (z**2).mean(0)))
        best: tuple[float, History, float, RidgePath] | None = None
        for history in candidates:
            path = RidgePath(samples.features(history, scaled), z)
            penalties = [relative * path.size for relative in self.config.penalties]
            losses = np.zeros(len(penalties))
            if validation is not None:
                truth = self.target.encode(validation.y)
                features = validation.features(history, scaled_validation)
                for k, penalty in enumerate(penalties):
                    weights, intercept = path.coefficients(penalty)
                    losses[k] = (((features @ weights + intercept - truth) ** 2).mean(0) / variance).sum()
            for fold in folds:
                kept = np.isin(fold.left_out, fold.test)
                for k, said in enumerate(path.left_out(fold.left_out, penalties)[0]):
                    losses[k] += ((said[kept] - z[fold.test]) ** 2 / variance).sum() / n
            at = int(losses.argmin()) if losses.any() else len(losses) // 2
            if best is None or losses[at] < best[0]:
                best = (float(losses[at]), history, penalties[at], path)
        assert best is not None
        loss, self._history, self._penalty, self._path = best
        self._weights, self._intercept = self._path.coefficients(self._penalty)
        self.chosen = {
            "window_s": self._history.window * self.bin_s,
            "taps": self._history.taps,
            "penalty": self._penalty / self._path.size,
            "loss": loss / z.shape[1],
        }
        self._set_noise(samples, validation, folds)

    def _set_noise(self, samples: Samples, validation: Samples | None, folds: list) -> None:
        """Spread of the errors on bins that the weights have not seen, at leverage 0."""
        if validation is not None:
            mean, leverage = self._say(
                validation.features(self._history, self._scaler(validation.x)), noise=None
            )
            truth = validation.y
        elif folds:
            means, leverages = [], []
            for fold in folds:
                kept = np.isin(fold.left_out, fold.test)
                said, found = self._path.left_out(fold.left_out, [self._penalty], leverage=True)
                means.append(self.target.decode(said[0][kept]))
                leverages.append(found[0][kept])
            mean, leverage, truth = np.concatenate(means), np.concatenate(leverages), samples.y
        else:  # so few labels that the best guess of an error is how much the target varies
            mean, leverage, truth = samples.y.mean(0), np.zeros(len(samples)), samples.y
        error = self.target.error(truth, mean)
        self._noise = np.sqrt((error**2 / (1 + leverage[:, None])).mean(0))

    def _say(self, features: np.ndarray, noise: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Mean, and spread or, without noise, leverage."""
        mean = self.target.decode(features @ self._weights + self._intercept)
        leverage = self._path.leverage(features, self._penalty)
        return mean, leverage if noise is None else noise * np.sqrt(1 + leverage[:, None])

    def _predict(self, x: list[np.ndarray]) -> Prediction:
        means, spreads = [], []
        for part in self._scaler(x):
            mean, spread = in_pieces(
                len(part),
                lambda rows, part=part: self._say(self._history.rows(part, rows), self._noise),  # type: ignore[misc]
            )
            means.append(mean)
            spreads.append(spread)
        return Prediction(mean=means, spread=spreads)
