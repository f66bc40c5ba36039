"""The Kalman filter as a decoder: linear Gaussian motion, linear Gaussian features.

Wu et al. 2006 (Neural Computation 18:80). State x (the target about its mean, and its change per bin), features z (the
mean of each unit over a window, about its mean):

    x_t = A x_{t−1} + w,  w ~ N(0, W)          z_t = H x_t + q,  q ~ N(0, c Q)

All that the filter needs of the features is J = Hᵀ (cQ)⁻¹ H and b_t = Hᵀ (cQ)⁻¹ z_t, as small as the state. Q is a
mixture of the residuals' covariance and its diagonal, inverted by Woodbury's identity where there are fewer labelled
bins than units. The factor c allows for what the model leaves out: neighbouring windows share their events, and tuning
from few labels is noisy.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from neuroformer.baselines.decoding.decoder import Decoder
from neuroformer.baselines.decoding.history import History, Scaler, histories
from neuroformer.baselines.decoding.samples import Samples, blocked_folds
from neuroformer.baselines.decoding.target import Prediction, Target
from neuroformer.settings.decoding import KalmanConfig

_RIDGE = 1e-3  # of the mean squared state: holds a regression on a constant
_STEADY = 1e-12  # relative change of the covariance below which the gain is constant


class LinearMotion:
    """The state's dynamics.

    Args:
        matrix: (S, S) A.
        noise: (S, S) covariance W.
        initial: (S, S) covariance of the state before anything is seen; its mean is 0.
    """

    def __init__(self, matrix: np.ndarray, noise: np.ndarray, initial: np.ndarray) -> None:
        """See the class."""
        self.matrix, self.noise, self.initial = matrix, noise, initial

    def filter(
        self, information: np.ndarray, evidence: np.ndarray, *, smooth: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior of the state in each bin.

        Args:
            information: (S, S) J.
            evidence: (T, S) b.
            smooth: use later bins too.

        Returns:
            Means (T, S) and covariances (T, S, S).
        """
        n_bins, size = evidence.shape
        means, covariances = np.empty((n_bins, size)), np.empty((n_bins, size, size))
        A, W, eye = self.matrix, self.noise, np.eye(size)
        mean, predicted = np.zeros(size), self.initial
        covariance, steady = np.full((size, size), np.inf), False
        for t in range(n_bins):
            if t:
                mean = A @ mean
                predicted = predicted if steady else A @ covariance @ A.T + W
            if not steady:
                last = covariance
                covariance = np.linalg.solve(eye + predicted @ information, predicted)
                covariance = (covariance + covariance.T) / 2
                steady = bool(np.abs(covariance - last).max() <= _STEADY * np.abs(covariance).max())
            mean = mean + covariance @ (evidence[t] - information @ mean)
            means[t], covariances[t] = mean, covariance
        if smooth:
            for t in range(n_bins - 2, -1, -1):
                predicted = A @ covariances[t] @ A.T + W
                gain = np.linalg.solve(predicted, A @ covariances[t]).T
                means[t] += gain @ (means[t + 1] - A @ means[t])
                covariances[t] += gain @ (covariances[t + 1] - predicted) @ gain.T
        return means, covariances


def precision_times(residual: np.ndarray, columns: np.ndarray, shrinkage: float) -> np.ndarray:
    """Q⁻¹ C for Q = (1 − ρ) RᵀR/n + ρ diag(RᵀR/n), by Woodbury's identity where n < N.

    No variance on the diagonal is below a hundredth of the units' mean.

    Args:
        residual: (n, N) R.
        columns: (N, S) C.
        shrinkage: ρ in (0, 1].
    """
    n, n_units = residual.shape
    variance = (residual**2).mean(0)
    floor = 1e-2 * float(variance.mean()) or 1.0
    variance = np.maximum(variance, floor)  # a unit that was silent is not known exactly
    diagonal = shrinkage * variance
    if shrinkage == 1:
        return columns / diagonal[:, None]
    root = residual * np.sqrt((1 - shrinkage) / n)
    if n_units <= n:
        return cho_solve(cho_factor(root.T @ root + np.diag(diagonal)), columns)
    scaled = columns / diagonal[:, None]
    inner = np.eye(n) + (root / diagonal) @ root.T
    return scaled - (root / diagonal).T @ cho_solve(cho_factor(inner), root @ scaled)


class KalmanDecoder(Decoder):
    """Kalman filter of a continuous target; cosine and sine of a circular one.

    The spread is that of the posterior times one factor, so that its mean square on bins left out is that of the
    errors.
    """

    name = "kalman"
    kinds = ("continuous",)

    def __init__(self, target: Target, *, bin_s: float, config: KalmanConfig | None = None) -> None:
        """See the class."""
        super().__init__(target, bin_s=bin_s)
        self.config = config or KalmanConfig()

    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        c, n = self.config, len(samples)
        self._scaler = Scaler(samples.x)
        scaled = self._scaler(samples.x)
        judged = samples if validation is None else validation
        scaled_judged = scaled if validation is None else self._scaler(validation.x)
        z = self.target.encode(samples.y)
        windows = histories(c.windows_s, [1], bin_s=self.bin_s, centered=c.centered)
        gap = max(h.window for h in windows)
        folds = [] if validation is not None else blocked_folds(samples, folds=c.folds, gap=gap)
        parts = [(fold.train(n), fold.test) for fold in folds]
        if validation is not None:
            parts = [(np.arange(n), np.arange(len(validation)))]
        variance = np.maximum(z.var(0), 1e-12 * np.maximum(1, (z**2).mean(0)))
        truth = self.target.encode(judged.y)
        best: tuple[float, History, float, float] | None = None
        for history in windows if parts else []:
            losses = dict.fromkeys(product(c.shrinkage, c.noise), 0.0)
            features = samples.features(history, scaled)
            for train, test in parts:
                self._learn(samples, features, history, z, train)
                for shrinkage in c.shrinkage:
                    self._observe(shrinkage)
                    evidence = self._evidence(scaled_judged, judged, test)
                    for noise in c.noise:
                        means, _ = self._run(evidence, noise)
                        losses[shrinkage, noise] += float(((means - truth[test]) ** 2 / variance).sum())
            chosen = min(losses, key=losses.__getitem__)
            if best is None or losses[chosen] < best[0]:
                best = (losses[chosen], history, *chosen)
        if best is None:  # too few labels to choose
            best = (float("nan"), windows[len(windows) // 2], max(c.shrinkage), max(c.noise))
        loss, history, shrinkage, self._noise = best
        features = samples.features(history, scaled)
        square, count = np.zeros(samples.y.shape[1]), 0
        for train, test in parts:
            self._learn(samples, features, history, z, train)
            self._observe(shrinkage)
            means, covariances = self._run(self._evidence(scaled_judged, judged, test), self._noise)
            mean, spread = self._physical(means, covariances)
            square += ((self.target.error(judged.y[test], mean) / spread) ** 2).sum(0)
            count += len(test)
        self._factor = np.sqrt(square / count) if count else np.ones(len(square))
        self._factor = np.where(self._factor > 0, self._factor, 1.0)
        self._learn(samples, features, history, z, np.arange(n))
        self._observe(shrinkage)
        self.chosen = {
            "window_s": history.window * self.bin_s,
            "shrinkage": shrinkage,
            "noise": self._noise,
            "loss": loss / max(1, count) / z.shape[1],
        }

    def _learn(
        self, samples: Samples, sums: np.ndarray, history: History, z: np.ndarray, train: np.ndarray
    ) -> None:
        """Motion, and the regression of features on the state, from some of the labelled bins."""
        self._history = history
        stretch = np.repeat(np.arange(len(samples.rows)), [len(rows) for rows in samples.rows])[train]
        at = np.concatenate(samples.rows)[train]
        follows = np.append(False, (np.diff(at) == 1) & (np.diff(stretch) == 0))
        self._center = z[train].mean(0)
        state = z[train] - self._center
        usable = np.arange(len(train))
        if self.config.velocity and follows.sum() >= 2:
            change = np.zeros_like(state)
            change[1:] = state[1:] - state[:-1]
            state = np.concatenate([state, change], axis=1)
            usable = np.flatnonzero(follows)  # whose change is known
        follows[1:] &= np.isin(np.arange(len(train) - 1), usable)
        now = np.flatnonzero(follows & np.isin(np.arange(len(train)), usable))
        known = state[usable]
        size = state.shape[1]
        scale = np.maximum((known**2).mean(0), 1e-12 * max(1.0, float((self._center**2).max())))
        covariance = known.T @ known / len(known) + np.diag(_RIDGE * scale)
        if len(now) > size:
            before, after = state[now - 1], state[now]
            gram = before.T @ before + len(now) * np.diag(1e-6 * scale)
            matrix = np.linalg.solve(gram, before.T @ after).T
            noise = (after - before @ matrix.T).T @ (after - before @ matrix.T) / len(now)
            growth = np.abs(np.linalg.eigvals(matrix)).max()
            if growth > 1:  # few labels may say that the target runs away
                matrix = matrix / growth
        else:  # no two neighbouring labels: each bin by itself
            matrix, noise = np.zeros((size, size)), covariance
        self._motion = LinearMotion(matrix, noise + np.diag(1e-9 * scale), covariance)
        features = sums[train][usable] / history.window
        self._feature_mean = features.mean(0)
        features = features - self._feature_mean
        state_here = known - known.mean(0)
        gram = state_here.T @ state_here + len(known) * np.diag(_RIDGE * scale)
        self._tuning = np.linalg.solve(gram, state_here.T @ features).T  # (N, S)
        self._feature_mean = self._feature_mean - known.mean(0) @ self._tuning.T
        self._residual = features - state_here @ self._tuning.T

    def _observe(self, shrinkage: float) -> None:
        """What the features tell: Q⁻¹ H and J, at c = 1."""
        self._readout = precision_times(self._residual, self._tuning, shrinkage)
        self._information = self._tuning.T @ self._readout
        self._information = (self._information + self._information.T) / 2

    def _project(self, x: np.ndarray) -> np.ndarray:
        """(T, S) b of every bin at c = 1, from scaled features (T, N)."""
        # A window's sum is linear, so units are brought together before it is taken.
        bins = np.arange(len(x))
        sums = self._history.rows(x @ self._readout, bins)
        return sums / self._history.window - self._feature_mean @ self._readout

    def _evidence(
        self, scaled: list[np.ndarray], samples: Samples, test: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each stretch that holds some of the bins: b from 100 bins before the first of them, and which they are."""
        found, first = [], 0
        for x, rows in zip(scaled, samples.rows, strict=True):
            mine = rows[test[(test >= first) & (test < first + len(rows))] - first]
            first += len(rows)
            if len(mine):
                begin = max(0, int(mine[0]) - 100)
                reach = max(0, begin - self._history.window)
                stop = min(len(x), int(mine[-1]) + 1 + self._history.ahead)
                b = self._project(x[reach:stop])[begin - reach : int(mine[-1]) + 1 - reach]
                found.append((b, mine - begin))
        return found

    def _run(
        self, evidence: list[tuple[np.ndarray, np.ndarray]], noise: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means (n, E), uncentred, and covariances (n, E, E) of the target part of the state."""
        size = len(self._center)
        means, covariances = [], []
        for b, rows in evidence:
            mean, covariance = self._motion.filter(
                self._information / noise, b / noise, smooth=self.config.smooth
            )
            means.append(mean[rows, :size] + self._center)
            covariances.append(covariance[rows, :size, :size])
        return np.concatenate(means), np.concatenate(covariances)

    def _physical(self, means: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (n, D) in the target's unit."""
        mean = self.target.decode(means)
        period = self.target.period
        if period is None:
            return mean, np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
        cosine, sine = np.split(means, 2, axis=1)
        n_dims = cosine.shape[1]
        d = np.arange(n_dims)
        length = np.maximum(np.hypot(cosine, sine), 1e-6)
        along_c, along_s = -sine / length, cosine / length  # the tangent: what turns the angle
        across = (
            along_c**2 * covariances[:, d, d]
            + along_s**2 * covariances[:, n_dims + d, n_dims + d]
            + 2 * along_c * along_s * covariances[:, d, n_dims + d]
        )
        spread = np.sqrt(across) / length * (period / (2 * np.pi))
        return mean, np.minimum(spread, period / np.sqrt(12))

    def _predict(self, x: list[np.ndarray]) -> Prediction:
        means, spreads = [], []
        for part in self._scaler(x):
            mean, spread = self._physical(
                *self._run([(self._project(part), np.arange(len(part)))], self._noise)
            )
            means.append(mean)
            spreads.append(spread * self._factor)
        return Prediction(mean=means, spread=spreads)
