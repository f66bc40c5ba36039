from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from neuroformer.baselines.decoding import Target
from neuroformer.baselines.decoding.logistic import LogisticDecoder, _Softmax
from neuroformer.settings.decoding import LogisticConfig

Walk = Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]


@pytest.mark.parametrize(("n", "n_features"), [(60, 4), (7, 9)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_fit_is_the_penalised_optimum(
    rng: np.random.Generator, n: int, n_features: int, n_classes: int
) -> None:
    x = rng.normal(3, 2, (n, n_features))
    labels = rng.integers(n_classes, size=n)
    penalties = [1.0, 0.1]
    model = _Softmax(x, labels, penalties, n_cells=n_classes + 1, steps=2000, tolerance=1e-9)
    scaled = (x - x.mean(0)) / np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())
    for number, penalty in enumerate(penalties):

        def loss(w: np.ndarray, penalty: float = penalty) -> float:
            w = w.reshape(n_features + 1, -1)
            logits = scaled @ w[:-1] + w[-1]
            if n_classes == 2:  # one weight a feature, as a binary regression has it
                logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
            nll = logsumexp(logits, axis=1) - logits[np.arange(n), labels]
            return float(nll.mean() + penalty / 2 * (w[:-1] ** 2).sum())

        start = np.zeros((n_features + 1) * (1 if n_classes == 2 else n_classes))
        w = minimize(loss, start, options={"gtol": 1e-6}).x.reshape(n_features + 1, -1)
        logits = scaled @ w[:-1] + w[-1]
        if n_classes == 2:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        expected = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
        weight = 1 / (n + 1)  # the class that was never seen, and its share
        found = model.probability(x, number)
        np.testing.assert_allclose(
            found[:, :-1], (1 - weight) * expected + weight / (n_classes + 1), atol=2e-4
        )
        np.testing.assert_allclose(found[:, -1], weight / (n_classes + 1))


def test_penalty_and_window_are_chosen(walk: Walk) -> None:
    x, y = walk("classes")
    rng = np.random.default_rng(0)
    noise = [rng.permutation(part) for part in x]
    target = Target(name="state", kind="categorical", labels=("a", "b", "c"))
    config = LogisticConfig(windows_s=[0.1, 0.3], penalties=[3.0, 0.01])
    tuned = LogisticDecoder(target, bin_s=0.1, config=config).fit(x, y)
    untuned = LogisticDecoder(target, bin_s=0.1, config=config).fit(noise, y)
    assert tuned.chosen["penalty"] == 0.01
    assert untuned.chosen["penalty"] == 3.0
    assert tuned.chosen["loss"] < untuned.chosen["loss"]
