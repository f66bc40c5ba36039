"""Multinomial logistic regression on lagged features, of classes or of the cells of a grid (softmax regression)."""

from __future__ import annotations

import warnings

import numpy as np

from neuroformer.baselines.decoding.decoder import Decoder, in_pieces, with_floor
from neuroformer.baselines.decoding.grid import Grid
from neuroformer.baselines.decoding.history import History, Scaler, histories
from neuroformer.baselines.decoding.samples import Samples, blocked_folds
from neuroformer.baselines.decoding.target import Prediction, Target
from neuroformer.settings.decoding import LogisticConfig

_STEPS, _TOLERANCE = 300, 1e-4
_SEARCH_STEPS, _SEARCH_TOLERANCE = 60, 1e-3


class LogisticDecoder(Decoder):
    """Linear classifier; of a continuous target with one or two dimensions it gives probabilities of cells.

    Window and penalty are those of the least log-loss on bins left out. A class without a label has next to no
    probability, 1 / (n + 1) shared among all classes.
    """

    name = "logistic"

    def __init__(self, target: Target, *, bin_s: float, config: LogisticConfig | None = None) -> None:
        """See the class."""
        super().__init__(target, bin_s=bin_s)
        self.config = config or LogisticConfig()

    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        c, target = self.config, self.target
        self._grid = (
            None
            if target.kind == "categorical"
            else Grid.over(target, samples.y, cells=c.cells, cells_2d=c.cells_2d)
        )
        self._n_cells = target.n_classes if self._grid is None else self._grid.size
        self._scaler = Scaler(samples.x)
        scaled = self._scaler(samples.x)
        labels = self._cells(samples.y)
        candidates = histories(c.windows_s, c.taps, bin_s=self.bin_s, centered=c.centered)
        gap = max(h.window for h in candidates)
        folds = [] if validation is not None else blocked_folds(samples, folds=c.folds, gap=gap)
        thin = -(-len(samples) // c.search_bins)  # neighbouring bins are nearly the same sample
        scaled_validation = None if validation is None else self._scaler(validation.x)
        best: tuple[float, History, float] | None = None
        for history in candidates:
            features = samples.features(history, scaled)
            losses = np.zeros(len(c.penalties))
            if validation is not None:
                held_out = validation.features(history, scaled_validation)
                truth = self._cells(validation.y)
                every = np.arange(len(samples))[::thin]
                losses += self._search(features[every], labels[every], held_out, truth) / len(truth)
            for fold in folds:
                train, test = fold.train(len(samples))[::thin], fold.test[::thin]
                losses += self._search(features[train], labels[train], features[test], labels[test]) / len(
                    labels[::thin]
                )
            at = int(losses.argmin()) if losses.any() else len(losses) // 2
            if best is None or losses[at] < best[0]:
                best = (float(losses[at]), history, c.penalties[at])
        assert best is not None
        loss, self._history, penalty = best
        self._model = _Softmax(
            samples.features(self._history, scaled),
            labels,
            [penalty],
            n_cells=self._n_cells,
            steps=_STEPS,
            tolerance=_TOLERANCE,
        )
        self.chosen = {
            "window_s": self._history.window * self.bin_s,
            "taps": self._history.taps,
            "penalty": penalty,
            "loss": loss,
        }

    def _cells(self, y: np.ndarray) -> np.ndarray:
        return y if self._grid is None else self._grid.cells(y)

    def _search(
        self, features: np.ndarray, labels: np.ndarray, held_out: np.ndarray, truth: np.ndarray
    ) -> np.ndarray:
        """Sum of log-losses on bins held out, for each penalty."""
        model = _Softmax(
            features,
            labels,
            self.config.penalties,
            n_cells=self._n_cells,
            steps=_SEARCH_STEPS,
            tolerance=_SEARCH_TOLERANCE,
        )
        return np.array(
            [
                -np.log(model.probability(held_out, k)[np.arange(len(truth)), truth]).sum()
                for k in range(len(self.config.penalties))
            ]
        )

    def _predict(self, x: list[np.ndarray]) -> Prediction:
        found = []
        for part in self._scaler(x):
            (probability,) = in_pieces(
                len(part),
                lambda rows, part=part: (self._model.probability(self._history.rows(part, rows), 0),),  # type: ignore[misc]
            )
            found.append(probability)
        if self._grid is None:
            return Prediction(probability=found)
        return Prediction(
            mean=[self._grid.point(p, "median") for p in found],
            spread=[self._grid.spread(p) for p in found],
            probability=found,
            grid=self._grid,
        )


class _Softmax:
    """Fits along a path of penalties, each from the one before.

    A fit penalised by its squared weights lies in the span of the samples, so with more features than samples it is
    done in the samples' own axes, and is the same.
    """

    def __init__(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        penalties: list[float],
        *,
        n_cells: int,
        steps: int,
        tolerance: float,
    ) -> None:
        n, n_features = x.shape
        self.n, self.n_cells = n, n_cells
        self.mean = x.mean(0)
        x = x - self.mean
        scale = np.sqrt((x**2).sum() / n)
        self.scale = scale if scale > 0 else 1.0  # so that a penalty means the same for any window
        x = x / self.scale
        self.axes: np.ndarray | None = None
        if n_features > n:
            left, s, right = np.linalg.svd(x, full_matrices=False)
            x, self.axes = left * s, right.T
        self.classes, self.fits = np.unique(labels), []
        if len(self.classes) < 2:
            return
        # Training knows this module, and does not need the 50 MB that scikit-learn brings.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=steps, tol=tolerance, warm_start=True)
        for penalty in penalties:
            model.set_params(C=1 / (penalty * n))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a path is searched with few steps
                warnings.filterwarnings(
                    "ignore", "The number of unique classes", UserWarning
                )  # cells are many
                model.fit(x, labels)
            self.fits.append((model.coef_.copy(), model.intercept_.copy()))

    def probability(self, x: np.ndarray, number: int) -> np.ndarray:
        """(T, K) under one of the penalties, features (T, F)."""
        found = np.zeros((len(x), self.n_cells))
        if not self.fits:
            found[:, self.classes] = 1
            return with_floor(found, self.n)
        x = (x - self.mean) / self.scale
        weights, intercept = self.fits[number]
        score = (x if self.axes is None else x @ self.axes) @ weights.T + intercept
        if len(self.classes) == 2:
            score = np.concatenate([np.zeros_like(score), score], axis=1)
        score = np.exp(score - score.max(1, keepdims=True))
        found[:, self.classes] = score / score.sum(1, keepdims=True)
        return with_floor(found, self.n)
