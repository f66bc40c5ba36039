from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from neuroformer.baselines import event_features
from neuroformer.baselines.event_features import EventFeatures
from neuroformer.baselines.many_basis_glm import orthonormal_basis
from neuroformer.baselines.penalized_poisson import (
    Parameters,
    Penalty,
    log_likelihood,
    optimality,
    solve,
)
from neuroformer.data import Recording, Span
from neuroformer.model.filters import log_basis

Record = Callable[..., Recording]
KERNELS, BASIS = orthonormal_basis(6, 3), log_basis(8, 3)
N, K, H = 4, 3, 3


def features_of(recording: Recording) -> EventFeatures:
    return EventFeatures(recording, "train", kernels=KERNELS, basis=BASIS, dtype=torch.float64)


def nothing() -> Parameters:
    zeros = torch.zeros(K, N, N, dtype=torch.float64)
    return Parameters(bias=zeros[0, 0] - 3, history=zeros[:, 0].T.clone(), pairs=zeros)


def by_hand(recording: Recording) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (T, N), own-history features (T, N, H) and coupling features (T, K, N), bin by bin."""
    counts, own, pairs = [], [], []
    for span in recording.part("train"):
        whole = recording.counts(Span(epoch=span.epoch, start=0, stop=span.stop)).astype(float)
        for t in range(span.start, span.stop):
            past = np.zeros((8, N))
            for lag in range(1, min(8, t) + 1):
                past[lag - 1] = whole[t - lag]
            counts.append(whole[t])
            own.append((BASIS.double().numpy() @ past).T)
            pairs.append(KERNELS.double().numpy() @ past[:6])
    return np.array(counts), np.array(own), np.array(pairs)


def objective(
    counts: np.ndarray,
    own: np.ndarray,
    pairs: np.ndarray,
    target: int,
    x: np.ndarray,
    strength: float,
    kind: str,
) -> float:
    bias, history, coupling = x[0], x[1 : 1 + H], x[1 + H :].reshape(K, N - 1)
    others = np.delete(pairs, target, axis=2).reshape(len(pairs), -1)
    eta = bias + own[:, target] @ history + others @ coupling.ravel()
    if kind == "ridge":
        penalty = 0.5 * (coupling**2).sum()
    else:
        penalty = np.sqrt((coupling**2).sum(0)).sum()
    return float(
        (np.exp(eta) - counts[:, target] * eta).sum() + strength * penalty + 0.05 * (history**2).sum()
    )


def penalty(kind: str, strength: float) -> Penalty:
    return Penalty(
        kind=kind,  # type: ignore[arg-type]
        strength=torch.full((N, N), strength, dtype=torch.float64),
        history_ridge=0.1,
    )


def packed(p: Parameters, target: int) -> np.ndarray:
    others = np.delete(p.pairs[:, :, target].numpy(), target, axis=1)
    return np.concatenate([[p.bias[target]], p.history[target].numpy(), others.ravel()])


@pytest.mark.parametrize("kind", ["ridge", "group_lasso"])
def test_the_solution_is_the_optimum_that_brute_force_finds(record: Record, kind: str) -> None:
    recording = record()
    assert len(recording.part("train")) > 1
    features, hand = features_of(recording), by_hand(recording)
    at = penalty(kind, 8.0)
    p = solve(features, nothing(), at, tolerance=1e-12)
    assert float(optimality(features, p, at).max()) < 1e-2
    for target in range(3):
        found = packed(p, target)
        method = {"ridge": "BFGS", "group_lasso": "Powell"}[kind]
        args = lambda x, target=target: objective(*hand, target, x, 8.0, kind)  # noqa: E731
        best = minimize(args, found + 0.05, method=method, options={"maxiter": 400})
        assert args(found) <= best.fun + 1e-5
        if kind == "ridge":
            np.testing.assert_allclose(found, best.x, atol=2e-3)
    assert (p.pairs[:, :, 3] == 0).all()  # never fires: nothing to learn
    assert (p.pairs.diagonal(dim1=1, dim2=2) == 0).all()


def test_the_group_lasso_meets_its_subgradient_conditions(record: Record) -> None:
    recording = record()
    features, (counts, own, pairs) = features_of(recording), by_hand(recording)
    strength = 8.0
    at = penalty("group_lasso", strength)
    p = solve(features, nothing(), at, tolerance=1e-12)
    zeros = 0
    for target in range(3):
        eta = p.bias[target].numpy() + own[:, target] @ p.history[target].numpy()
        eta += np.einsum("tks,ks->t", pairs, p.pairs[:, :, target].numpy())
        assert np.exp(eta).sum() == pytest.approx(counts[:, target].sum())
        slope = np.einsum("t,tks->ks", np.exp(eta) - counts[:, target], pairs)
        for source in set(range(3)) - {target}:
            x = p.pairs[:, source, target].numpy()
            size = np.linalg.norm(x)
            if size > 0:
                np.testing.assert_allclose(slope[:, source], -strength * x / size, atol=1e-2)
            else:
                zeros += 1
                assert np.linalg.norm(slope[:, source]) <= strength
    assert 0 < zeros < 6


def test_likelihood_and_features_are_those_of_a_loop_over_bins(record: Record) -> None:
    recording = record()
    counts, own, pairs = by_hand(recording)
    features = features_of(recording)
    rng = torch.Generator().manual_seed(0)
    p = Parameters(
        bias=torch.full((N,), -3.0, dtype=torch.float64),
        history=torch.randn(N, H, generator=rng, dtype=torch.float64) * 0.3,
        pairs=torch.randn(K, N, N, generator=rng, dtype=torch.float64) * 0.3,
    )
    eta = p.bias.numpy() + np.einsum("tnh,nh->tn", own, p.history.numpy())
    eta += np.einsum("tks,ksn->tn", pairs, p.pairs.numpy())
    assert features.n_bins == len(counts)
    assert log_likelihood(features, p) == pytest.approx((counts * eta - np.exp(eta)).sum(), rel=1e-10)


def test_features_filtered_anew_are_those_that_are_kept(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = record()
    kept = features_of(recording)
    monkeypatch.setattr(event_features, "_KEPT_BYTES", 0)
    monkeypatch.setattr(event_features, "_BLOCK_BINS", 100)
    anew = features_of(recording)
    assert kept._kept is not None
    assert anew._kept is None
    torch.testing.assert_close(kept.events_pairs, anew.events_pairs)
    torch.testing.assert_close(kept.correlation, anew.correlation)
