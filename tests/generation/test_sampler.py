"""What is sampled is the model: step by step the same intensities as in one pass, and events of these intensities."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.errors import UserError
from neuroformer.generation import Forced, Sampled, Sampler, Sampling

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("rank", "layers", "levels", "with_variables"),
    [
        (0, 0, (1.0,), True),
        (0, 2, (1.0,), False),
        (0, 2, (0.5, 0.3, 0.2), True),
        (2, 0, (0.5, 0.3, 0.2), False),
        (2, 2, (1.0,), True),
        (2, 2, (0.5, 0.3, 0.2), False),
    ],
)
def test_step_by_step_is_the_forward_pass(
    rank: int,
    layers: int,
    levels: tuple[float, ...],
    with_variables: bool,
    make_calm: Make,
    make_pasts: Make,
    full: Make,
    shapes: Make,
    furnish: Make,
    rng: np.random.Generator,
) -> None:
    variables = shapes() if with_variables else []
    model = make_calm(3, 5, rank=rank, layers=layers, levels=levels, variables=variables)
    batch = make_pasts(model, (0, 3), (1, 5), (0, 3), rng=rng, n_bins=40)
    if variables:
        batch = furnish(batch, variables, rng)
    row = [0, 1, 2, 1]
    found = Sampler(model, batch, row=row, seeds=[5, 6, 7, 8]).advance(batch, keep_intensity=True)
    assert len(found) > 20
    assert found.log_intensity is not None
    for stream, k in enumerate(row):
        expected = full(model, batch, k, found, stream)
        assert np.abs(expected - found.log_intensity[stream, :, : expected.shape[1]]).max() < 1e-5


def test_streams_attend_one_by_one_as_they_do_together(
    make_calm: Make, make_pasts: Make, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_calm(3, 5, layers=2)
    batch = make_pasts(model, (0, 3), (1, 5), rng=rng, n_bins=30)
    found = []
    for products in (0, 10**12):
        monkeypatch.setattr("neuroformer.generation.trunk_state._WORTH_A_CALL", products)
        sampler = Sampler(model, batch, row=[0, 1, 1, 0], seeds=[5, 6, 7, 8])
        found.append(sampler.advance(batch, keep_intensity=True))
    alone, together = found
    np.testing.assert_array_equal(alone.unit, together.unit)
    assert alone.log_intensity is not None
    assert together.log_intensity is not None
    assert np.abs(alone.log_intensity - together.log_intensity)[:, :, :3].max() < 1e-5


@pytest.mark.parametrize("state", [0, 4])
def test_a_short_past_and_a_model_without_trunk(
    state: int, make_calm: Make, make_pasts: Make, full: Make, rng: np.random.Generator
) -> None:
    model = make_calm(4, state=state)
    for history in (0, 3):
        batch = make_pasts(model, (0, 4), rng=rng, n_bins=60, history=history)
        found = Sampler(model, batch, row=[0], seeds=[1]).advance(batch, keep_intensity=True)
        assert found.log_intensity is not None
        assert np.abs(full(model, batch, 0, found, 0) - found.log_intensity[0]).max() < 1e-5


def test_crowded_bins_enlarge_the_cache(
    make_calm: Make, make_pasts: Make, full: Make, rng: np.random.Generator
) -> None:
    model = make_calm(5, layers=2, weights=0.05)
    batch = make_pasts(model, (0, 5), rng=rng, n_bins=60)
    busy = [(t, k % 2, k % 5) for t in range(20, 30) for k in range(30)]
    forced = Forced(
        **dict(zip(("bin", "stream", "unit"), np.array(busy).T, strict=True)), level=np.zeros(300, int)
    )
    found = Sampler(model, batch, row=[0, 0], seeds=[1, 2], sampling=Sampling(most_per_bin=1e6)).advance(
        batch, forced=forced, keep_intensity=True
    )
    assert found.forced.sum() == 300
    assert found.log_intensity is not None
    for stream in (0, 1):
        assert np.abs(full(model, batch, 0, found, stream) - found.log_intensity[stream]).max() < 1e-5


def test_going_on_is_the_same_as_going_through(
    make_calm: Make, make_pasts: Make, rng: np.random.Generator
) -> None:
    model = make_calm(4, layers=1)
    batch = make_pasts(model, (0, 4), rng=rng, n_bins=50)
    through = Sampler(model, batch, row=[0, 0, 0], seeds=[1, 2, 3]).advance(batch)
    sampler = Sampler(model, batch, row=[0, 0, 0], seeds=[1, 2, 3])
    first = sampler.advance(batch, n_bins=20)
    sampler.keep([2, 0], [0, 0])
    joined = Sampled.joined([first, sampler.advance(batch, n_bins=30)])
    for stream in (0, 2):
        for name in ("bin", "unit", "level"):
            a, b = (
                getattr(through, name)[through.stream == stream],
                getattr(joined, name)[joined.stream == stream],
            )
            assert np.array_equal(a, b)
    assert joined.bin[joined.stream == 1].max() < 20


def test_a_seed_gives_the_same_stream_in_any_company(
    make_calm: Make, make_pasts: Make, rng: np.random.Generator
) -> None:
    model = make_calm(3, 5, layers=1)
    batch = make_pasts(model, (0, 3), (1, 5), rng=rng, n_bins=60)

    def events(row: list[int], seeds: list[int], stream: int) -> list[tuple[int, int]]:
        found = Sampler(model, batch, row=row, seeds=seeds).advance(batch)
        mine = found.stream == stream
        return list(zip(found.bin[mine].tolist(), found.unit[mine].tolist(), strict=True))

    alone = events([0], [7], 0)
    assert alone == events([1, 0, 1], [1, 7, 2], 1)
    assert alone != events([0], [8], 0)


def test_the_future_does_not_matter(
    make_calm: Make, make_pasts: Make, shapes: Make, furnish: Make, rng: np.random.Generator
) -> None:
    variables = shapes()
    model = make_calm(4, layers=1, variables=variables)
    batch = furnish(make_pasts(model, (0, 4), rng=rng, n_bins=40), variables, rng)
    at = batch.first_scored + 20
    later = {}
    for name, variable in batch.variables.items():
        values = variable.values.clone()
        values[:, at:] = values[:, at:].flip(1)
        later[name] = replace(variable, values=values)
    changed = replace(batch, variables=later)
    a, b = (
        Sampler(model, x, row=[0], seeds=[3]).advance(x, keep_intensity=True).log_intensity
        for x in (batch, changed)
    )
    assert a is not None
    assert b is not None
    assert np.array_equal(a[:, :20], b[:, :20])
    assert not np.allclose(a[:, 20:], b[:, 20:])


def test_rates_of_a_model_without_couplings(
    make_calm: Make, make_pasts: Make, rng: np.random.Generator
) -> None:
    model = make_calm(4, state=0, levels=(0.5, 0.3, 0.2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("mean") or name == "history.shared":
                parameter.zero_()
            if name.endswith("log_scale"):
                parameter.fill_(-20)
        model.bias[-1] = np.log(1.5)  # several events in a bin are common
    batch = make_pasts(model, (0, 4), rng=rng, n_bins=200)
    found = Sampler(model, batch, row=[0] * 20, seeds=range(20)).advance(batch)
    rate = model.bias.exp().detach().numpy()
    n = 20 * 200
    counts = np.bincount(found.unit, minlength=4) / n
    assert np.all(np.abs(counts - rate) < 4 * np.sqrt(rate / n))
    level = np.bincount(found.level[found.unit == 3], minlength=3) / (found.unit == 3).sum()
    expected = (model.level_bias[0] + model.level_unit[3]).softmax(-1).detach().numpy()
    assert np.all(np.abs(level - expected) < 4 * np.sqrt(0.25 / (found.unit == 3).sum()))
    # Poisson: the variance of the counts is their mean.
    cell = np.bincount(found.stream[found.unit == 3] * 200 + found.bin[found.unit == 3], minlength=n)
    assert cell.var() == pytest.approx(1.5, rel=0.1)


def test_a_silenced_unit_is_silent_and_its_targets_notice(
    make_calm: Make, make_pasts: Make, rng: np.random.Generator
) -> None:
    model = make_calm(3, state=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("mean") or name == "history.shared":
                parameter.zero_()
            if name.endswith("log_scale"):
                parameter.fill_(-20)
        model.coupling.sessions[0].mean[:, 0, 1] = 0.25  # unit 0 excites unit 1, and none other
        model.bias[:] = torch.tensor([-1.0, -2.0, -2.0])
    batch = make_pasts(model, (0, 3), rng=rng, n_bins=400, history=0)
    silenced = np.array([[True, False, False]])
    rates = []
    for mask in (None, silenced):
        found = Sampler(model, batch, row=[0] * 20, seeds=range(20), silenced=mask).advance(batch)
        rates.append(np.bincount(found.unit, minlength=3) / 8000)
    assert rates[1][0] == 0
    assert rates[1][1] == pytest.approx(np.exp(-2), rel=0.1)
    assert rates[0][1] > 1.3 * rates[1][1]
    assert rates[0][2] == rates[1][2]  # its random numbers are its own
    # One event of unit 0, put in, raises the intensity of unit 1 by the coupling's kernels.
    one = Forced(stream=np.zeros(1, int), bin=np.array([5]), unit=np.zeros(1, int), level=np.zeros(1, int))
    found = Sampler(model, batch, row=[0], seeds=[0], silenced=silenced).advance(
        batch, forced=one, keep_intensity=True
    )
    kernel = 0.25 * model.coupling.kernels().sum(0).detach().numpy()
    assert found.log_intensity is not None
    assert found.log_intensity[0, 6 : 6 + len(kernel), 1] == pytest.approx(-2 + kernel, abs=1e-5)
    assert (found.unit[found.forced], found.bin[found.forced]) == (0, 5)


def test_a_ceiling_holds_and_is_counted(make_calm: Make, make_pasts: Make, rng: np.random.Generator) -> None:
    model = make_calm(3, state=0, weights=0.0)
    with torch.no_grad():
        model.bias[:] = torch.tensor([-2.0, -2.0, 1.0])
        for name, parameter in model.named_parameters():
            if name.endswith("log_scale"):
                parameter.fill_(-20)
    batch = make_pasts(model, (0, 3), rng=rng, n_bins=500)
    sampler = Sampler(model, batch, row=[0] * 10, seeds=range(10), ceiling=[0.5])
    found = sampler.advance(batch)
    rate = np.bincount(found.unit, minlength=3) / 5000
    assert rate[2] == pytest.approx(0.5, abs=0.04)
    assert rate[0] == pytest.approx(np.exp(-2), abs=0.03)
    assert sampler.n_lowered.tolist() == [500] * 10


def test_activity_that_runs_away_is_refused(
    make_calm: Make, make_pasts: Make, rng: np.random.Generator
) -> None:
    model = make_calm(3)
    batch = make_pasts(model, (0, 3), rng=rng, n_bins=300)
    with torch.no_grad():
        model.bias[1] = 4.5
    with pytest.raises(UserError, match=r"unit 1: .* runs away"):
        Sampler(model, batch, row=[0], seeds=[0]).advance(batch)
    calm = make_calm(3, state=0, weights=0.0)
    with torch.no_grad():
        calm.bias[1] = 2.0
        for name, parameter in calm.named_parameters():
            if name.endswith("log_scale"):
                parameter.fill_(-20)
    with (
        pytest.warns(UserWarning, match="may be running away"),
        pytest.raises(UserError, match="has run away"),
    ):
        Sampler(calm, batch, row=[0], seeds=[0], usual=[0.1]).advance(batch)
