"""Stimulus and behaviour on the clock: against brute force, cut anywhere, and never filled in."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.data import Recording, SplitConfig
from neuroformer.data.clock import Epoch
from neuroformer.data.variables import Binned, VariableReader
from neuroformer.errors import UserError
from neuroformer.session import Session, TimeSeries
from neuroformer.settings.variables import VariableConfig

BIN_S = 0.1
Write = Callable[..., Path]
INTERVALS = np.array([[0.0, 20.0], [20.0, 41.3], [50.0, 60.0]])


@pytest.fixture
def write(write: Write) -> Write:
    """As everywhere, each time into a new file."""
    numbers = count()
    return lambda name=None, **session: write(name or f"s{next(numbers)}", **session)


def series(times: Any, values: Any, **about: Any) -> TimeSeries:
    about = {"kind": "continuous"} | about
    return TimeSeries(timestamps=np.asarray(times, float), values=np.asarray(values), **about)


def reader(path: Path, name: str = "x", **config: Any) -> VariableReader:
    return VariableReader(Session(path), name, VariableConfig(**config))


def epochs_of(path: Path) -> list[Epoch]:
    return Recording(path, bin_s=BIN_S, split=SplitConfig(), context_bins=1).epochs


def brute(
    times: np.ndarray, values: np.ndarray, epoch: Epoch, interval: float, period: float | None
) -> Binned:
    """Bin by bin: the mean of what is there, else the last sample of the epoch for up to 1.5 intervals."""
    at = epoch.bin_of(times)
    values = values.reshape(len(values), -1).astype(float)
    good = np.isfinite(values).all(1)
    found, known = np.zeros((epoch.n_bins, values.shape[1])), np.zeros(epoch.n_bins, bool)
    for k in range(epoch.n_bins):
        here = at == k
        if here.any():
            known[k] = (here & good).any()
            if known[k] and period is None:
                found[k] = values[here & good].mean(0)
            elif known[k]:
                turn = np.exp(2j * np.pi * values[here & good] / period).mean(0)
                found[k] = np.angle(turn) % (2 * np.pi) * period / (2 * np.pi)
            continue
        before = np.nonzero((at < k) & (at >= 0))[0]
        if (
            len(before)
            and good[before[-1]]
            and k * BIN_S + epoch.start - times[before[-1]] < 1.4999 * interval
        ):
            known[k] = True
            found[k] = values[before[-1]] if period is None else values[before[-1]] % period
    return Binned(values=found, known=known)


def same(found: Binned, expected: Binned, period: float | None = None) -> None:
    np.testing.assert_array_equal(found.known, expected.known)
    off = found.values - expected.values
    if period is not None:
        off = (off + period / 2) % period - period / 2
        assert ((found.values >= 0) & (found.values <= period)).all()
    np.testing.assert_allclose(off, 0, atol=2e-4)
    assert (found.values[~found.known] == 0).all()


@pytest.mark.parametrize("rate", [3.0, 10.0, 47.0])
@pytest.mark.parametrize("period", [None, 360.0])
def test_bins_hold_means_or_the_last_sample_wherever_they_are_cut(
    write: Write, rng: np.random.Generator, rate: float, period: float | None
) -> None:
    times = np.arange(0, 60, 1 / rate) + rng.uniform(0, 0.2 / rate)
    gone = (times > 13) & (times < 17)  # a stretch without samples, and below one of NaN
    times = times[~gone]
    values = rng.uniform(-200, 200, (len(times), 2)).astype(np.float32)
    values[rng.random(len(times)) < 0.1, 0] = np.nan
    values[(times > 30) & (times < 35)] = np.nan
    path = write(intervals=INTERVALS, behavior={"x": series(times, values, period=period, unit="deg")})
    read = reader(path)
    assert read.interval_s == pytest.approx(1 / rate, rel=1e-6)
    for epoch in epochs_of(path):
        expected = brute(times, values, epoch, 1 / rate, period)
        same(read.binned(epoch, 0, epoch.n_bins), expected, period)
        for _ in range(8):
            start, stop = sorted(rng.choice(epoch.n_bins + 1, 2, replace=False).tolist())
            part = Binned(values=expected.values[start:stop], known=expected.known[start:stop])
            same(read.binned(epoch, start, stop), part, period)


def test_nothing_between_two_bins_of_a_stretch_without_samples(write: Write) -> None:
    times = np.r_[np.arange(0.0, 9.9, 0.1), 50.0]
    path = write(behavior={"x": series(times, np.arange(100) % 3.0)})
    epoch = epochs_of(path)[0]
    for kind in ("continuous", "categorical"):
        if kind == "categorical":
            labels = {"kind": "categorical", "labels": ("a", "b", "c", "d")}
            path = write(behavior={"x": series(times, np.arange(100) % 3, **labels)})
        found = reader(path).binned(epoch, 300, 400)
        assert not found.known.any()
        assert not found.values.any()


def test_a_value_is_never_held_longer_than_one_and_a_half_intervals(write: Write) -> None:
    slow = np.arange(0, 20, 0.5)
    times = np.concatenate(
        [slow, slow + 40]
    )  # for 20 s nothing: the mean interval is longer than the real one
    path = write(behavior={"x": series(times, np.ones(len(times)))})
    read = reader(path)
    assert read.interval_s == pytest.approx(0.5)
    found = read.binned(epochs_of(path)[0], 0, 600)
    assert found.known[:195].all()
    # The last sample at 19.5 s holds for 0.75 s: to the bin that begins at 20.2 s.
    known = found.known.nonzero()[0]
    assert known[known < 400].max() == 202
    assert found.known[400:].sum() == 200


def test_no_value_comes_from_the_future_or_from_another_epoch(write: Write, rng: np.random.Generator) -> None:
    times = np.arange(0, 60, 0.25)
    values = rng.normal(size=len(times)).astype(np.float32)
    near = times.copy()
    near[80] = 20.0 - 4e-5  # within a thousandth of a bin before the second epoch
    for stamps in (times, near):
        path = write(intervals=INTERVALS, behavior={"x": series(stamps, values)})
        epoch = epochs_of(path)[1]
        reference = reader(path).binned(epoch, 0, epoch.n_bins)
        for k in (0, 7):
            changed = np.where(stamps < epoch.time_of(k + 1) - 1e-6, values, 99).astype(np.float32)
            changed[stamps < epoch.start] = -99
            path = write(intervals=INTERVALS, behavior={"x": series(stamps, changed)})
            found = reader(path).binned(epoch, 0, epoch.n_bins)
            np.testing.assert_array_equal(found.values[: k + 1], reference.values[: k + 1])
            np.testing.assert_array_equal(found.known, reference.known)
            assert (found.values[k + 4 :] == 99).any()


def test_stored_values_of_unknown_samples_reach_no_bin(write: Write, rng: np.random.Generator) -> None:
    times = np.arange(0, 60, 0.04)
    missing = (rng.random(len(times)) < 0.3) | ((times > 10) & (times < 20))
    labels = np.where(missing, -1, rng.integers(0, 3, len(times))).astype(np.int16)
    path = write(behavior={"x": series(times, labels, kind="categorical", labels=("a", "b", "c"))})
    epoch = epochs_of(path)[0]
    found = reader(path).binned(epoch, 0, 600)
    last = np.array([np.nonzero(epoch.bin_of(times) == k)[0][-1] for k in range(600)])
    np.testing.assert_array_equal(found.known, ~missing[last])
    np.testing.assert_array_equal(found.values, np.where(missing[last], 0, labels[last]))


def test_labels_are_counted_as_the_model_counts_them(write: Write) -> None:
    times = np.arange(0, 60, 0.1) + 0.01
    words = np.array(["rest", "walk", "run"])[np.arange(600) % 3]
    for order in (("rest", "walk", "run"), ("walk", "run", "rest")):
        stored = np.array([order.index(w) for w in words]).astype(np.int8)
        path = write(behavior={"x": series(times, stored, kind="categorical", labels=order)})
        read = reader(path)
        read.use_labels(("run", "jump", "walk", "rest"))
        found = read.binned(epochs_of(path)[0], 0, 600)
        expected = [("run", "jump", "walk", "rest").index(w) for w in words]
        np.testing.assert_array_equal(found.values, expected)


TRIALS = {
    "start": np.array([5.0, 2.0, 20.0, 30.0]),
    "stop": np.array([10.0, 4.0, 25.0, 35.0]),
    "contrast": np.array([0.25, 1.0, np.nan, 0.0]),
    "side": np.array(["left", "right", "", "left"]),
    "angle": np.arange(4.0),
}


def test_columns_of_the_trial_table_hold_from_start_to_stop(write: Write) -> None:
    path = write(trials=TRIALS)
    epoch = epochs_of(path)[0]
    side = reader(path, "side", source="trials")
    assert (side.info.kind, side.info.labels, side.interval_s) == ("categorical", ("left", "right"), 0.0)
    found = side.binned(epoch, 0, 600)
    middle = (np.arange(600) + 0.5) * BIN_S
    left = ((middle > 5) & (middle < 10)) | ((middle > 30) & (middle < 35))
    right = (middle > 2) & (middle < 4)
    np.testing.assert_array_equal(found.known, left | right)  # one trial has no side
    np.testing.assert_array_equal(found.values, right)
    contrast = reader(path, "contrast", source="trials")
    assert contrast.info.labels == ("0", "0.25", "1")
    assert not contrast.binned(epoch, 200, 250).known.any()
    assert (contrast.binned(epoch, 20, 40).values == 2).all()
    number = reader(path, "contrast", source="trials", kind="continuous").binned(epoch, 0, 600)
    np.testing.assert_array_equal(number.known, left | right)
    np.testing.assert_allclose(number.values[:, 0], np.where(right, 1, np.where(middle < 10, 0.25, 0) * left))


def test_a_trial_table_without_trials_or_without_values_knows_nothing(write: Write) -> None:
    epoch = epochs_of(write())[0]
    for n in (0, 2):
        table = {
            "start": np.arange(n) * 1.0,
            "stop": np.arange(n) + 0.5,
            "side": np.array([""] * n, dtype="U4"),
        }
        found = reader(write(f"t{n}", trials=table), "side", source="trials").binned(epoch, 0, 100)
        assert not found.known.any()


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        ("v > 2", lambda v: v > 2),
        ("abs(v) >= 2", lambda v: np.abs(v) >= 2),
        ("v < -1.5", lambda v: v < -1.5),
        ("abs( x ) <= 1", None),
    ],
)
def test_when_masks_by_another_variable_or_by_its_own(
    write: Write, rng: np.random.Generator, when: str, kept: Callable[[np.ndarray], np.ndarray] | None
) -> None:
    times = np.arange(0, 60, BIN_S) + 0.02
    x, v = (rng.normal(0, 2, 600).astype(np.float32) for _ in range(2))
    v[50:80] = np.nan
    path = write(behavior={"x": series(times, x), "v": series(times, v)})
    found = reader(path, when=when).binned(epochs_of(path)[0], 0, 600)
    with np.errstate(invalid="ignore"):
        expected = np.abs(x) <= 1 if kept is None else kept(v)
    np.testing.assert_array_equal(found.known, expected)
    np.testing.assert_array_equal(found.values[:, 0], np.where(expected, x, 0))


def test_when_compares_numbers_of_trials_and_not_the_places_of_their_labels(write: Write) -> None:
    path = write(trials=TRIALS)
    found = reader(path, "side", source="trials", when="contrast > 0.5").binned(epochs_of(path)[0], 0, 600)
    assert found.known.nonzero()[0].tolist() == list(range(20, 40))


def test_when_masks_frames(write: Write) -> None:
    times = np.arange(0, 60, 0.5)
    frames = np.zeros((120, 2, 2), np.uint8)
    path = write(stimulus={"film": series(times, frames, kind="frames"), "on": series(times, times)})
    found = reader(path, "film", source="stimulus", role="context", when="on > 30").frames(
        epochs_of(path)[0], 200, 400
    )
    assert found.bins.tolist() == list(range(305, 400, 5))


def test_frames_appear_once_and_those_shortly_before_come_along(
    write: Write, rng: np.random.Generator
) -> None:
    times = np.arange(0, 60, 0.25)
    pixels = rng.integers(0, 255, (240, 3, 5, 2)).astype(np.float32)
    pixels[100] = np.nan
    path = write(intervals=INTERVALS, stimulus={"film": series(times, pixels, kind="frames")})
    read = reader(path, "film", source="stimulus", role="context")
    assert read.shape == (2, 3, 5)
    epochs = epochs_of(path)
    for epoch, start, stop in ((0, 0, 50), (0, 93, 120), (1, 0, 10), (1, 7, 60), (1, 40, 70), (2, 99, 100)):
        found = read.frames(epochs[epoch], start, stop)
        at = epochs[epoch].bin_of(times)
        wanted = (at >= max(0, start - 11)) & (at < stop) & (times != 25.0)
        np.testing.assert_array_equal(found.bins, at[wanted])
        np.testing.assert_array_equal(found.values, pixels[wanted].transpose(0, 3, 1, 2))


def test_of_several_frames_in_a_bin_the_last_counts(write: Write) -> None:
    times = np.arange(0, 60, 0.04)
    values = np.broadcast_to(np.arange(1500.0)[:, None, None], (1500, 2, 2)).astype(np.float32)
    path = write(stimulus={"film": series(times, values, kind="frames")})
    epoch = epochs_of(path)[0]
    found = reader(path, "film", source="stimulus", role="context").frames(epoch, 100, 110)
    inside = found.bins >= 100
    assert found.bins[inside].tolist() == list(range(100, 110))
    at = epoch.bin_of(times)
    assert found.values[inside][:, 0, 0, 0].tolist() == [
        float(np.nonzero(at == k)[0][-1]) for k in range(100, 110)
    ]


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("y", {}, r"s0\.h5: no behavior 'y'; it has c, two, x"),
        ("x", {"source": "stimulus"}, r"no stimulus 'x'; it has film"),
        ("x", {"source": "trials"}, r"no column 'x' of trials/; it has angle, contrast, side, start, stop"),
        ("two", {}, r"'two' has 2 categorical values per sample, expected one"),
        (
            "film",
            {"source": "stimulus"},
            r"variables\.film\.role=both: frames are not decoded, use role=context",
        ),
        (
            "x",
            {"kind": "categorical"},
            r"variables\.x\.kind=categorical: .* says continuous; leave the key out",
        ),
        ("side", {"source": "trials", "kind": "continuous"}, r"kind=continuous: .* has words there"),
        ("x", {"when": "speed > 2"}, r"no behavior 'speed'"),
        ("x", {"when": "c > 0"}, r"when='c > 0': 'c' is categorical .*expected numbers"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(write: Write, name: str, config: Any, message: str) -> None:
    times = np.arange(0, 60, 1.0)
    path = write(
        trials=TRIALS,
        behavior={
            "x": series(times, times),
            "c": series(times, np.zeros(60, np.int8), kind="categorical", labels=("a",)),
            "two": series(times, np.zeros((60, 2), np.int8), kind="categorical", labels=("a",)),
        },
        stimulus={"film": series(times, np.zeros((60, 2, 2), np.uint8), kind="frames")},
    )
    with pytest.raises(UserError, match=message):
        reader(path, name, **config)
