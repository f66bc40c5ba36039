"""Ridge regression for many penalties, and what it says of blocks left out, from one eigendecomposition.

With centred features X (n, F), eigenvalues s and scores Z = X V of XᵀX (or of XXᵀ, whichever is the smaller), the hat
matrix at penalty λ, its unpenalised intercept included, is

    H = 11ᵀ/n + Z diag(1 / (s + λ)) Zᵀ

and what a fit without the samples B would say of these follows without another fit: the residuals are

    e_B = (I − H_BB)⁻¹ (y_B − ŷ_B)        (Cook & Weisberg 1982, Residuals and Influence in Regression, §3.2, for OLS)

and (I − H_BB)⁻¹ = I + X_B (X_¬BᵀX_¬B + λ)⁻¹ X_Bᵀ, whose diagonal is 1 + leverage, the variance of a prediction
relative to that of the noise. Both are exact.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

_NEGLIGIBLE = 1e-10  # eigenvalues below this part of the largest are rounding


class RidgePath:
    """A regression at any penalty.

    Args:
        x: (n, F) features.
        y: (n, E) targets.

    Attributes:
        size: mean squared length of a centred feature vector, the scale for penalties; 1 when all are constant.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        """See the class."""
        self._mean = x.mean(0)
        x = x - self._mean
        n, n_features = x.shape
        if n_features <= n:
            s, axes = eigh(x.T @ x, driver="evd", check_finite=False)
            kept = s > max(_NEGLIGIBLE * s[-1], 0)
            self._s, self._axes = s[kept], axes[:, kept]
            scores = x @ self._axes
        else:
            s, left = eigh(x @ x.T, driver="evd", check_finite=False)
            kept = s > max(_NEGLIGIBLE * s[-1], 0)
            self._s = s[kept]
            scores = left[:, kept] * np.sqrt(self._s)
            self._axes = x.T @ (left[:, kept] / np.sqrt(self._s))
        self.size = float(self._s.sum() / n) if len(self._s) else 1.0
        self._n, self._y = n, y
        # The intercept is one more column, with weight 1 at any penalty.
        self._scores = np.concatenate([scores, np.full((n, 1), n**-0.5)], axis=1)
        self._projected = self._scores.T @ y

    def _inverse(self, penalty: float) -> np.ndarray:
        return np.append(self._s + penalty, 1.0)

    def coefficients(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """(F, E) weights and (E,) intercept."""
        weights = self._axes @ (self._projected[:-1] / (self._s + penalty)[:, None])
        return weights, self._y.mean(0) - self._mean @ weights

    def leverage(self, x: np.ndarray, penalty: float) -> np.ndarray:
        """(T,) variance of the prediction at features (T, F), relative to the noise."""
        x = x - self._mean
        scores = x @ self._axes
        outside = np.maximum((x**2).sum(1) - (scores**2).sum(1), 0)
        return 1 / self._n + (scores**2 / (self._s + penalty)).sum(1) + outside / penalty

    def left_out(
        self, rows: np.ndarray, penalties: list[float], *, leverage: bool = False
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Fit without some samples and predict these.

        Args:
            rows: which samples.
            penalties: each gives one answer.
            leverage: give leverages too.

        Returns:
            Predictions (b, E) for each penalty, and leverages (b,), empty unless asked for.
        """
        z = self._scores[rows]
        b, m = z.shape
        small = b * b * m + b**3 / 3 < m**3 / 3
        gram = None if small else z.T @ z
        means, leverages = [], []
        for penalty in penalties:
            inverse = self._inverse(penalty)
            residual = self._y[rows] - z @ (self._projected / inverse[:, None])
            if gram is None:
                root = z / np.sqrt(inverse)
                factor = cho_factor(np.eye(b) - root @ root.T, check_finite=False)
                error = cho_solve(factor, residual)
                if leverage:
                    leverages.append(np.diag(cho_solve(factor, np.eye(b))) - 1)
            else:
                factor = cho_factor(np.diag(inverse) - gram, check_finite=False)
                error = residual + z @ cho_solve(factor, z.T @ residual)
                if leverage:
                    leverages.append((cho_solve(factor, z.T).T * z).sum(1))
            means.append(self._y[rows] - error)
        return means, leverages
