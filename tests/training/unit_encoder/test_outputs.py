"""How units answer, by Bayes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from neuroformer.evaluation.trained_run import load_run
from neuroformer.training.unit_encoder.outputs import (
    OutputFeatures,
    OutputPrior,
    fit_outputs,
    known_outputs,
    learn_output_prior,
    output_features,
    set_outputs,
)


def made_up(rng: np.random.Generator, n_bins: int = 3000) -> tuple[OutputFeatures, OutputPrior, np.ndarray]:
    """Two units, two history functions, three shared features; and the weights."""
    own, shared = rng.gamma(1.0, 0.5, (n_bins, 2, 2)), np.tanh(rng.normal(size=(n_bins, 3)))
    offset = 0.1 * rng.normal(size=(n_bins, 2))
    prior = OutputPrior(
        mean=np.array([-1.0, 0, 0, 0, 0, 0]), covariance=np.diag([1, 0.3, 0.3, 0.5, 0.5, 0.5])
    )
    weight = rng.multivariate_normal(prior.mean, prior.covariance, 2)
    eta = offset + weight[:, 0] + np.einsum("tnk,nk->tn", own, weight[:, 1:3]) + shared @ weight[:, 3:].T
    counts = rng.poisson(np.exp(eta))
    tensors = (torch.from_numpy(x.astype(np.float32)) for x in (counts, own, shared, offset))
    return (
        OutputFeatures(**dict(zip(("counts", "own", "shared", "offset"), tensors, strict=True))),
        prior,
        weight,
    )


def test_the_most_probable_weights_are_found(rng: np.random.Generator) -> None:
    features, prior, _ = made_up(rng, n_bins=200)
    found = fit_outputs(features, prior)
    inverse = np.linalg.inv(prior.covariance)
    for unit in range(2):
        design = np.concatenate([np.ones((200, 1)), features.own[:, unit], features.shared], 1)
        events, offset = features.counts[:, unit].numpy(), features.offset[:, unit].numpy()

        def cost(
            w: np.ndarray, x: np.ndarray = design, n: np.ndarray = events, o: np.ndarray = offset
        ) -> float:
            eta = o + x @ w
            return float(np.exp(eta).sum() - n @ eta + 0.5 * (w - prior.mean) @ inverse @ (w - prior.mean))

        best = minimize(cost, prior.mean, method="BFGS", options={"gtol": 1e-6})
        assert found.mean[unit] == pytest.approx(best.x, abs=3e-3)
        rate = np.exp(offset + design @ best.x)
        precision = (rate[:, None] * design**2).sum(0) + np.diagonal(inverse)
        assert found.variance[unit] == pytest.approx(1 / precision, rel=0.02)


def test_planted_weights_come_back(rng: np.random.Generator) -> None:
    features, prior, weight = made_up(rng, n_bins=20_000)
    assert fit_outputs(features, prior).mean == pytest.approx(weight, abs=0.08)


def test_without_events_the_prior_stays_but_for_the_rate(rng: np.random.Generator) -> None:
    features, prior, _ = made_up(rng, n_bins=400)
    found = fit_outputs(replace(features, counts=torch.zeros_like(features.counts)), prior)
    assert np.isfinite(found.mean).all()
    assert (found.mean[:, 0] < prior.mean[0]).all()


def test_evidence_prefers_features_that_matter(rng: np.random.Generator) -> None:
    features, prior, _ = made_up(rng)
    shuffled = replace(features, shared=features.shared[torch.randperm(3000, generator=torch.manual_seed(0))])
    assert fit_outputs(features, prior).evidence > fit_outputs(shuffled, prior).evidence + 10


def test_refitted_rates_are_those_that_the_model_will_have(rng: np.random.Generator) -> None:
    """exp(mean + variance / 2), summed, comes to the events that there were."""
    features, prior, _ = made_up(rng, n_bins=150)
    wide = OutputPrior(mean=prior.mean, covariance=prior.covariance * 4)

    def total(rounds: int) -> np.ndarray:
        found = fit_outputs(features, wide, rounds=rounds)
        mean, variance = (torch.from_numpy(x).float() for x in (found.mean, found.variance))
        eta = features.offset + mean[:, 0] + features.shared @ mean[:, 3:].T
        eta = eta + torch.einsum("tnk,nk->tn", features.own, mean[:, 1:3])
        half = features.shared.square() @ variance[:, 3:].T
        half = half + torch.einsum("tnk,nk->tn", features.own.square(), variance[:, 1:3])
        return (eta + 0.5 * half).exp().sum(0).numpy() / features.counts.sum(0).numpy()

    assert total(2) == pytest.approx(1, abs=0.02)
    assert np.abs(total(2) - 1).max() < np.abs(total(0) - 1).max()


def test_the_prior_is_the_mean_and_spread_of_units(rng: np.random.Generator) -> None:
    mean = rng.multivariate_normal([1, 2, 3], np.diag([4.0, 0.5, 0.1]), 5000)
    prior = learn_output_prior(mean, np.full((5000, 3), 0.2))
    assert prior.mean == pytest.approx([1, 2, 3], abs=0.1)
    assert prior.covariance == pytest.approx(np.diag([4.2, 0.7, 0.3]), abs=0.2)
    few = learn_output_prior(mean[:2], np.full((2, 3), 0.2))
    assert np.linalg.eigvalsh(few.covariance).min() > 0.05
    assert few.covariance[0, 0] >= 1


@pytest.mark.parametrize("name", ["run", "low_rank"])
def test_features_and_weights_make_the_models_own_log_rates(
    name: str, request: pytest.FixtureRequest
) -> None:
    run = load_run(request.getfixturevalue(name))
    model, recording = run.trained.model, run.data.recordings[1]
    spans = recording.tiles("train", 50)[2:4]
    features = output_features(model, run.data, recording, spans)
    mean, variance = known_outputs(model)
    rows = model.rows(1)
    weight, spread = (torch.from_numpy(x[rows]).float() for x in (mean, variance))
    k = 1 + features.own.shape[2]
    eta = features.offset + weight[:, 0] + features.shared @ weight[:, k:].T
    eta = eta + torch.einsum("tnk,nk->tn", features.own, weight[:, 1:k])
    half = features.shared.square() @ spread[:, k:].T
    half = half + torch.einsum("tnk,nk->tn", features.own.square(), spread[:, 1:k])
    with torch.no_grad():
        blind = [replace(b, variables={}, frames={}) for b in run.data.batches_of(recording, spans)]
        expected = torch.cat([model(b)[0][0] for b in blind])
        counts = torch.cat([b.counts(scored_only=True)[0] for b in blind])
    assert torch.allclose(eta + 0.5 * half, expected, atol=1e-4)
    assert torch.equal(counts, features.counts)


@pytest.mark.parametrize("name", ["run", "low_rank"])
def test_weights_are_written_where_they_were_read(name: str, request: pytest.FixtureRequest) -> None:
    run = load_run(request.getfixturevalue(name))
    model, recording = run.trained.model, run.data.recordings[1]
    features = output_features(model, run.data, recording, recording.tiles("train", 100)[:3])
    found = fit_outputs(features, learn_output_prior(*known_outputs(model)))
    before = known_outputs(model)[0]
    set_outputs(model, 1, found)
    mean, variance = known_outputs(model)
    assert mean[10:] == pytest.approx(found.mean, abs=1e-5)
    assert variance[10:, 1:] == pytest.approx(found.variance[:, 1:], rel=1e-4)
    assert np.array_equal(mean[:10], before[:10])
