"""Naive Bayes: the tuning of each unit by itself, turned round by Bayes on a grid or on classes.

Zhang et al. 1998 (J. Neurophysiol. 79:1017). With S_j the events of unit j in the window of a bin, w the bins of the
window that lie inside the stretch, and g a cell,

    log p(S | g) = Σ_j S_j log λ_j(g) − w Σ_j λ_j(g),       p(g | S) ∝ p(g) p(S | g)^e

The tuning λ is that of the *windowed* events against the target at the bin, so a lag of the activity and motion within
the window are in it. Tuning curves are smoothed by a Gaussian and drawn to the unit's mean rate,

    λ_j(g) = (Σ_t K(g, g_t) S_j(t) + a λ̄_j) / (Σ_t K(g, g_t) w(t) + a)

Units are not independent given the target, so with e = 1 the posterior is overconfident; e is chosen by log-loss.
Traces have a Gaussian in place of the Poisson distribution: mean of the window, and one variance a unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.sparse import csr_array

from neuroformer.baselines.decoding.decoder import Decoder, in_pieces, with_floor
from neuroformer.baselines.decoding.grid import Grid
from neuroformer.baselines.decoding.history import History, histories
from neuroformer.baselines.decoding.motion import filtered, transitions
from neuroformer.baselines.decoding.samples import Samples, blocked_folds
from neuroformer.baselines.decoding.target import Prediction, Target
from neuroformer.errors import UserError
from neuroformer.settings.decoding import NaiveBayesConfig

_LEAD_IN = 100  # bins before a block that a motion prior is run over when the block is judged


class Tuning:
    """Tuning curves of all units.

    Args:
        sums: (n, N) sums of the features over the window.
        exposure: (n,) bins of the window inside the stretch.
        cells: (n,) cell of each bin.
        kernel: (G, G) smoothing, 1 on the diagonal.
        prior: bins for which every cell counts as visited at the mean.
        window: bins of a whole window.
        poisson: counts; else Gaussian.

    Attributes:
        mean: (G, N) events per bin, or mean of a trace.
        variance: (N,) of the mean over the window about the tuning; Gaussian only.
    """

    def __init__(
        self,
        sums: np.ndarray,
        exposure: np.ndarray,
        cells: np.ndarray,
        *,
        kernel: np.ndarray,
        prior: float,
        window: int,
        poisson: bool,
    ) -> None:
        """See the class."""
        n_cells = len(kernel)
        self.poisson = poisson
        visits = csr_array((np.ones(len(cells)), (cells, np.arange(len(cells)))), shape=(n_cells, len(cells)))
        if poisson:
            total, bins = sums.sum(0), exposure.sum()
            average = np.maximum(total, 0.5) / bins
            weight = prior * window
            time = kernel @ (visits @ exposure) + weight
            self.mean = (kernel @ (visits @ sums) + weight * average) / time[:, None]
            # A silent unit would speak for the cells that were never visited; it is to say nothing.
            self.mean[:, total == 0] = average[total == 0]
            return
        values = sums / exposure[:, None]
        average = values.mean(0)
        time = kernel @ visits.sum(1) + prior
        self.mean = (kernel @ (visits @ values) + prior * average) / time[:, None]
        spread = ((values - self.mean[cells]) ** 2).mean(0)
        around = values.var(0)
        typical = float(around.mean()) or 1.0
        # Few labels are fitted too well, and a constant unit would be infinitely sure.
        self.variance = np.maximum(spread, np.maximum(0.1 * around, 1e-3 * typical))

    def log_likelihood(self, sums: np.ndarray, exposure: np.ndarray) -> np.ndarray:
        """(T, G) of windows (T, N), up to a constant a bin."""
        if self.poisson:
            return sums @ np.log(self.mean).T - exposure[:, None] * self.mean.sum(1)
        precision = 1 / self.variance
        values = sums / exposure[:, None]
        return values @ (self.mean * precision).T - 0.5 * (self.mean**2 @ precision)


@dataclass(frozen=True)
class _Windows:
    """Sums over the window of every bin (T, N), and its bins inside the stretch (T,), of each stretch."""

    sums: list[np.ndarray]
    exposure: list[np.ndarray]

    @classmethod
    def of(cls, x: list[np.ndarray], history: History) -> _Windows:
        return cls(
            [history.rows(part, np.arange(len(part))).astype(np.float32) for part in x],
            [history.exposure(len(part), np.arange(len(part))) for part in x],
        )

    def at(self, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Those of some bins of each stretch, put together."""
        return (
            np.concatenate([part[at] for part, at in zip(self.sums, rows, strict=True)]).astype(np.float64),
            np.concatenate([part[at] for part, at in zip(self.exposure, rows, strict=True)]),
        )


class NaiveBayesDecoder(Decoder):
    """Naive Bayes on a grid of a continuous target with one or two dimensions, or on classes.

    With a motion prior every event counts once in all, not once in each of the windows that hold it: the exponent is
    divided by the bins of the window.
    """

    name = "naive_bayes"

    def __init__(self, target: Target, *, bin_s: float, config: NaiveBayesConfig | None = None) -> None:
        """See the class."""
        super().__init__(target, bin_s=bin_s)
        self.config = config or NaiveBayesConfig()

    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        c, target = self.config, self.target
        self._poisson = _is_poisson(target, samples, c.observations)
        self._grid = (
            None
            if target.kind == "categorical"
            else Grid.over(target, samples.y, cells=c.cells, cells_2d=c.cells_2d)
        )
        cells = self._cells(samples.y)
        on_grid = ["flat", "occupancy"] if self._grid is not None else ["occupancy"]
        priors = on_grid if c.prior == "auto" else [c.prior]
        candidates = list(
            product(
                histories(c.windows_s, [1], bin_s=self.bin_s, centered=c.centered),
                c.smoothing if self._grid is not None else [0.0],
                c.prior_s,
                priors,
            )
        )
        gap = max(history.window for history, *_ in candidates)
        folds = [] if validation is not None else blocked_folds(samples, folds=c.folds, gap=gap)
        parts = [(fold.train(len(samples)), samples, fold.test) for fold in folds]
        if validation is not None:
            parts = [(np.arange(len(samples)), validation, np.arange(len(validation)))]
        best: tuple[float, int, float] | None = None
        kept: tuple[History, _Windows, _Windows, tuple[np.ndarray, np.ndarray]] | None = None
        for number, candidate in enumerate(candidates if parts else []):
            if kept is None or kept[0] != candidate[0]:
                windows = _Windows.of(samples.x, candidate[0])
                judged = windows if validation is None else _Windows.of(validation.x, candidate[0])
                kept = (candidate[0], windows, judged, windows.at(samples.rows))
            losses, errors = np.zeros(len(c.evidence)), np.zeros(len(c.evidence))
            for train, held_out, test in parts:
                self._learn(samples, cells, train, candidate, kept[3])
                posterior = self._judge(held_out, kept[2], test, np.array(c.evidence))
                truth = held_out.y[test]
                hit = np.take_along_axis(posterior, self._cells(truth)[None, :, None], axis=2)
                weight = 1 / (len(train) + 1)  # as in `with_floor`
                loss = -np.log((1 - weight) * hit[..., 0] + weight / posterior.shape[2]).sum(1)
                losses += loss
                errors += loss if self._grid is None else [self._error(truth, p) for p in posterior]
            at = int(losses.argmin())
            if best is None or errors[at] < best[0]:
                best = (float(errors[at]), number, c.evidence[at])
        if best is None:  # too few labels to choose: the middle of the lists, and the most cautious exponent
            best = (float("nan"), len(candidates) // 2, min(c.evidence))
        history, smoothing, prior_s, prior = candidates[best[1]]
        self._evidence = best[2]
        whole = _Windows.of(samples.x, history).at(samples.rows)
        self._learn(samples, cells, np.arange(len(samples)), candidates[best[1]], whole)
        self.chosen = {
            "window_s": history.window * self.bin_s,
            "smoothing": smoothing,
            "prior_s": prior_s,
            "prior": prior,
            "evidence": self._evidence,
            "loss": best[0] / max(1, sum(len(test) for *_, test in parts)),
        }

    def _cells(self, y: np.ndarray) -> np.ndarray:
        return y if self._grid is None else self._grid.cells(y)

    def _error(self, truth: np.ndarray, probability: np.ndarray) -> float:
        """Sum of absolute errors, each dimension in its cells."""
        assert self._grid is not None
        error = self.target.error(truth, self._grid.point(probability, self.config.point))
        return float((np.abs(error) / self._grid.widths).sum())

    def _learn(
        self,
        samples: Samples,
        cells: np.ndarray,
        train: np.ndarray,
        candidate: tuple[History, float, float, str],
        sums: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Tuning, prior and motion from some of the labelled bins."""
        history, smoothing, prior_s, prior = candidate
        kernel = np.eye(self.target.n_classes) if self._grid is None else self._grid.kernel(smoothing)
        self._history = history
        self._tuning = Tuning(
            sums[0][train],
            sums[1][train],
            cells[train],
            kernel=kernel,
            prior=prior_s / self.bin_s,
            window=history.window,
            poisson=self._poisson,
        )
        n_cells = len(kernel)
        if prior == "occupancy":
            visits = kernel @ np.bincount(cells[train], minlength=n_cells)
            if self._grid is None:  # a class without a label is next to impossible
                self._prior = with_floor(visits / visits.sum(), len(train))
            else:
                self._prior = (visits + 1) / (visits + 1).sum()
        else:
            self._prior = np.full(n_cells, 1 / n_cells)
        if self.config.motion != "none":
            steps = 1 - np.eye(n_cells, dtype=np.int64) if self._grid is None else self._grid.steps()
            self._matrix = transitions(_pairs(samples, cells, train), steps)

    def _judge(
        self, samples: Samples, windows: _Windows, test: np.ndarray, evidence: np.ndarray
    ) -> np.ndarray:
        """(len(evidence), len(test), G) posterior of some of the labelled bins."""
        found, first = [], 0
        for sums, exposure, rows in zip(windows.sums, windows.exposure, samples.rows, strict=True):
            mine = rows[test[(test >= first) & (test < first + len(rows))] - first]
            first += len(rows)
            if not len(mine):
                continue
            begin = max(0, int(mine[0]) - _LEAD_IN)
            bins = mine if self.config.motion == "none" else np.arange(begin, int(mine[-1]) + 1)
            likelihood = self._tuning.log_likelihood(sums[bins].astype(np.float64), exposure[bins])
            posterior = self._posterior(likelihood, evidence)
            found.append(posterior if self.config.motion == "none" else posterior[:, mine - begin])
        return np.concatenate(found, axis=1)

    def _log_likelihood(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        history = self._history
        return self._tuning.log_likelihood(history.rows(x, rows), history.exposure(len(x), rows))

    def _posterior(self, log_likelihood: np.ndarray, evidence: np.ndarray) -> np.ndarray:
        """(E, T, G) for each exponent; T successive bins where there is a motion prior."""
        motion = self.config.motion
        power = evidence if motion == "none" else evidence / self._history.window
        raised = power[:, None, None] * log_likelihood
        if motion != "none":
            return filtered(raised, self._matrix, self._prior, smooth=motion == "smooth")
        raised = raised + np.log(self._prior)
        raised = np.exp(raised - raised.max(-1, keepdims=True))
        return raised / raised.sum(-1, keepdims=True)

    def _predict(self, x: list[np.ndarray]) -> Prediction:
        found = []
        for part in x:
            (likelihood,) = in_pieces(
                len(part),
                lambda rows, part=part: (self._log_likelihood(part, rows),),  # type: ignore[misc]
            )
            found.append(self._posterior(likelihood, np.array([self._evidence]))[0])
        if self._grid is None:
            return Prediction(probability=found)
        return Prediction(
            mean=[self._grid.point(p, self.config.point) for p in found],
            spread=[self._grid.spread(p) for p in found],
            probability=found,
            grid=self._grid,
        )


def _pairs(samples: Samples, cells: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(n, 2) cells of successive bins of a stretch that are both among `train`."""
    stretch = np.repeat(np.arange(len(samples.rows)), [len(rows) for rows in samples.rows])[train]
    at = np.concatenate(samples.rows)[train]
    next_to = (np.diff(at) == 1) & (np.diff(stretch) == 0)
    return np.stack([cells[train][:-1][next_to], cells[train][1:][next_to]], axis=1)


def _is_poisson(target: Target, samples: Samples, observations: str) -> bool:
    if observations == "gaussian":
        return False
    whole = all((part >= 0).all() and (part == np.round(part)).all() for part in samples.x)
    if observations == "poisson" and not all((part >= 0).all() for part in samples.x):
        raise UserError(
            f"{target.name}: naive_bayes.observations=poisson, and some features are below 0; use gaussian"
        )
    return whole or observations == "poisson"
