from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from neuroformer.identity.activity import Activity, Stretch, read_activity
from neuroformer.identity.statistics import autocorrelogram_features, rate_features


def activity(
    times: list[list[float]], *, stop: float = 10.0, bin_s: float = 0.1, cut: float | None = None
) -> Activity:
    """Units with the given event times, in one stretch or in two."""
    ends = [0.0, stop] if cut is None else [0.0, cut, stop]
    stretches = []
    for a, b in pairwise(ends):
        inside = [np.array([t for t in unit if a <= t < b]) for unit in times]
        shape = (round((b - a) / bin_s), len(times))
        stretches.append(
            Stretch(
                start=a,
                stop=b,
                times=inside,
                amplitudes=None,
                activity=np.zeros(shape),
                behavior=np.zeros((shape[0], 0)),
            )
        )
    return Activity(
        name="a",
        n_units=len(times),
        bin_s=bin_s,
        step_s=0.1,
        from_traces=False,
        behavior_names=(),
        stretches=stretches,
    )


def named(found: tuple[np.ndarray, list[str]], unit: int = 0) -> dict[str, float]:
    return dict(zip(found[1], found[0][unit], strict=True))


def test_a_clock_does_not_vary() -> None:
    found = named(rate_features(activity([list(np.arange(0.05, 10, 0.5))])))
    assert found["log_rate"] == pytest.approx(np.log10(20.5 / 10))
    assert found["cv"] == pytest.approx(0, abs=1e-9)
    assert found["cv2"] == pytest.approx(0, abs=1e-9)
    assert found["fano"] == pytest.approx(0)
    assert found["burst_index"] == 0


def test_statistics_by_hand() -> None:
    times = [0.0, 1.0, 1.1, 4.0]
    found = named(rate_features(activity([times])))
    gaps = np.array([1.0, 0.1, 2.9])
    assert found["cv"] == pytest.approx(gaps.std() / gaps.mean())
    assert found["cv2"] == pytest.approx(np.mean([2 * 0.9 / 1.1, 2 * 2.8 / 3.0]))
    assert found["burst_index"] == pytest.approx(1 / 3)
    counts = np.array([1, 2, 0, 0, 1, 0, 0, 0, 0, 0])  # windows of ten samples: 1 s
    assert found["fano"] == pytest.approx(counts.var(ddof=1) / counts.mean())


def test_no_interval_reaches_over_a_cut() -> None:
    found = named(rate_features(activity([[1.0, 2.0, 6.0, 7.0]], cut=5.0)))
    assert found["cv"] == pytest.approx(0)


def test_what_too_few_events_cannot_tell_is_nan() -> None:
    found = named(rate_features(activity([[], [1.0, 2.0]])))
    assert np.isnan([found["cv"], found["cv2"], found["fano"], found["burst_index"]]).all()
    assert np.isfinite(found["log_rate"])


def test_pairs_of_the_autocorrelogram_are_counted() -> None:
    times = [0.05, 0.15, 0.35, 5.05]
    found = named(autocorrelogram_features(activity([times])))
    # 100 bins, 4 events: lags 1, 2 and 3 have a pair each.
    expected = (100 - 1) * (4 / 100) ** 2
    assert found["acg_1-1"] == pytest.approx(np.log(2 / (expected + 1)))
    shares = np.exp([v for k, v in found.items() if k.startswith("isi_")])
    assert shares.sum() == pytest.approx(1)


def test_sessions_differ_by_kind_and_not_by_rate(
    animal: Callable[..., Path], recording: Callable[..., object]
) -> None:
    (found,) = read_activity([recording(animal("a"))])
    rates, names = rate_features(found)
    bursty = np.array([True, False] * 5)
    burst = rates[:, names.index("burst_index")]
    assert burst[bursty].min() > 0.4
    assert burst[~bursty].max() < 0.1


def test_only_the_training_part_is_read(
    animal: Callable[..., Path], recording: Callable[..., object]
) -> None:
    made = recording(animal("a"))
    (found,) = read_activity([made])
    span = made.part("train")[0]
    assert [(s.start, s.stop) for s in found.stretches] == [(0.0, pytest.approx(len(span) * 0.01))]
    assert found.stretches[0].stop < 48
    assert max(t.max() for t in found.stretches[0].times) < found.stretches[0].stop
    assert found.behavior_names == ("speed", "turn=right")
    counts = found.stretches[0].activity.sum(0)
    assert counts.sum() <= sum(len(t) for t in found.stretches[0].times)


def test_traces_take_the_place_of_counts(
    animal: Callable[..., Path], recording: Callable[..., object]
) -> None:
    made = recording(animal("a", traces=True))
    (found,) = read_activity([made])
    assert found.from_traces
    assert found.step_s == pytest.approx(0.1)
    values, names = autocorrelogram_features(found)
    assert {"trace_lag_1", "change_lag_1", "trace_skewness"} <= set(names)
    # White noise: no memory, and differences that undo half of each other.
    assert np.abs(values[:, names.index("trace_lag_1")]).max() < 0.2
    np.testing.assert_allclose(values[:, names.index("change_lag_1")], -0.5, atol=0.15)
    (by_events,) = read_activity([made], activity_s=0.2)
    assert not by_events.from_traces
