"""Codes of amplitudes, and the likelihood by which they are compared."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from neuroformer.data.tokens import level_edges, vector_quantised_edges
from neuroformer.errors import UserError
from neuroformer.forecasting.levels import AmplitudeCode, compare_levels
from neuroformer.session import Events, SessionData, write_session
from neuroformer.settings.levels import LevelsConfig


@pytest.mark.parametrize("n_levels", [1, 2, 5])
def test_density_integrates_to_one(n_levels: int, rng: np.random.Generator) -> None:
    amplitudes, units = rng.lognormal(0, 0.5, 300), rng.integers(2, size=300)
    edges = level_edges(amplitudes, n_levels)
    code = AmplitudeCode.fit(amplitudes, units, 2, edges)

    def density(log_a: float) -> float:
        a = np.array([np.exp(log_a)])
        return float(np.exp(code.log_density(a, np.array([1])))[0] * a[0])

    cuts = [-12.0, *np.log(edges), 12.0]
    total = sum(quad(density, a, b, limit=200)[0] for a, b in pairwise(cuts))
    assert total == pytest.approx(1, abs=1e-4)


def test_single_level_is_a_lognormal(rng: np.random.Generator) -> None:
    amplitudes = rng.lognormal(0.3, 0.5, 200)
    code = AmplitudeCode.fit(amplitudes, np.zeros(200, int), 1, np.zeros(0))
    logs = np.log(amplitudes)
    m, s = logs.mean(), logs.std()
    expected = -logs - np.log(s * np.sqrt(2 * np.pi)) - (logs - m) ** 2 / (2 * s**2)
    np.testing.assert_allclose(code.log_density(amplitudes, np.zeros(200, int)), expected)


def test_lloyd_lowers_the_distortion(rng: np.random.Generator) -> None:
    amplitudes = np.concatenate([rng.lognormal(0, 0.1, 900), rng.lognormal(3, 0.1, 100)])

    def distortion(edges: np.ndarray) -> float:
        level = np.searchsorted(edges, amplitudes, side="right")
        logs = np.log(amplitudes)
        return sum(((logs[level == k] - logs[level == k].mean()) ** 2).sum() for k in np.unique(level))

    for n_levels in (2, 4):
        found = vector_quantised_edges(amplitudes, n_levels)
        assert len(found) == n_levels - 1
        assert distortion(found) <= distortion(level_edges(amplitudes, n_levels))
    assert 2 < vector_quantised_edges(amplitudes, 2)[0] < 30


def session(path: Path, amplitudes: np.ndarray | None, rng: np.random.Generator) -> Path:
    """A session of 400 s with an event a second of 2 units."""
    times = np.arange(400) + 0.5
    units = (np.arange(400) % 2).astype(np.int32)
    data = SessionData(
        session_id=path.stem, subject_id="a", start=0.0, stop=400.0, n_units=2,
        events=Events(times=times, units=units, amplitudes=amplitudes),
    )  # fmt: skip
    return write_session(path, data)


def test_units_of_two_amplitudes_ask_for_levels(tmp_path: Path, rng: np.random.Generator) -> None:
    # One unit's events are 1 or 4, the other's 2: no lognormal says so.
    amplitudes = np.where(np.arange(400) % 2, 2.0, rng.choice([1.0, 4.0], 400)) * rng.lognormal(0, 0.05, 400)
    path = session(tmp_path / "a.h5", amplitudes.astype(np.float32), rng)
    found = compare_levels(LevelsConfig(sessions=[str(path)], bin_s=1.0, levels=[1, 3, 6]))
    assert [one.val for one in found] == sorted((one.val for one in found), reverse=True)
    assert len(found) == 5
    assert found[0].levels > 1
    assert found[0].test > next(one.test for one in found if one.levels == 1)


def test_spikes_have_nothing_to_code(tmp_path: Path, rng: np.random.Generator) -> None:
    path = session(tmp_path / "b.h5", None, rng)
    with pytest.raises(UserError, match="no amplitudes"):
        compare_levels(LevelsConfig(sessions=[str(path)], bin_s=1.0))
