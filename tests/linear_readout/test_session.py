"""A variable of a session read out: names, trials, classes, and that labels of the test part are not looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.data import Recording
from neuroformer.data.variable_entries import learn_variable
from neuroformer.data.variables import VariableEntry
from neuroformer.errors import UserError
from neuroformer.linear_readout import LearnedReadout, learn_variable_readout, read_out
from neuroformer.linear_readout.session import unit_names
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.data import SplitConfig
from neuroformer.settings.linear_readout import LinearReadoutConfig
from neuroformer.settings.variables import LabelsConfig, VariableConfig

BIN_S = 0.5
NAMES = np.array(["AVA", "AVB", "AIB", "RIM", "SMD", "", "", "AVA2"])
WEIGHTS = np.array([1.0, -0.8, 0.6, 0.0, 0.9, 0.0, 0.0, 0.3])
CONFIG = LinearReadoutConfig(
    enabled=True, before_s=0.5, after_s=0.5, functions=2, rounds=4, correlations=[0.0, 0.5]
)
VARIABLES = {
    "velocity": VariableConfig(role="target"),
    "heading": VariableConfig(role="target"),
    "state": VariableConfig(role="target"),
    "choice": VariableConfig(source="trials", role="target"),
}


def worm(path: Path, seed: int, *, spoil_test: bool = False, traces: bool = True) -> Path:
    rng = np.random.default_rng(seed)
    n = 400
    time = np.arange(n) * BIN_S + 0.1
    order = rng.permutation(len(NAMES))
    x = rng.normal(size=(n, len(NAMES)))
    for t in range(1, n):
        x[t] = 0.8 * x[t - 1] + 0.6 * x[t]
    drive = x @ WEIGHTS[order] + 0.4 * rng.normal(size=n)
    velocity = 3 + 2 * drive
    start = np.arange(0, n * BIN_S - 2, 2.0)
    choice = np.where(drive.reshape(-1, 4).mean(1)[: len(start)] > 0, "right", "left").astype(object)
    if spoil_test:  # the last quarter
        velocity[300:] = rng.normal(50, 9, 100)
        choice[75:] = "right"
    series: dict[str, Any] = {"timestamps": time}
    behavior = {
        "velocity": TimeSeries(values=velocity, kind="continuous", unit="mm/s", **series),
        "heading": TimeSeries(values=(60 * drive) % 360, kind="continuous", unit="deg", period=360.0, **series),
        "state": TimeSeries(values=np.digitize(drive, [-1, 1]), kind="categorical", labels=("back", "rest", "go"),
                            **series),
    }  # fmt: skip
    counts = rng.poisson(np.exp(0.7 * x))
    bins, units = np.nonzero(counts)
    bins, units = np.repeat(bins, counts[bins, units]), np.repeat(units, counts[bins, units])
    write_session(path, SessionData(
        session_id=path.stem, subject_id=path.stem, start=0.0, stop=n * BIN_S, n_units=len(NAMES),
        events=Events(times=np.sort(bins * BIN_S + 0.1), units=units[np.argsort(bins, kind="stable")].astype(np.int32)),
        units={"label": NAMES[order], "label_confidence": np.full(len(NAMES), 3.0)}, behavior=behavior,
        traces=TimeSeries(values=x.astype(np.float32), kind="continuous", **series) if traces else None,
        trials={"start": start, "stop": start + 2.0, "choice": choice},
    ))  # fmt: skip
    return path


def opened(path: Path, minutes: float | None = None) -> Recording:
    labels = LabelsConfig(minutes=minutes)
    return Recording(path, bin_s=BIN_S, split=SplitConfig(val=0.05, test=0.25), context_bins=3, variables=VARIABLES,
                     labels=labels)  # fmt: skip


@pytest.fixture(scope="module")
def worms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("worms")
    return [worm(folder / f"w{k}.h5", k) for k in range(5)]


@pytest.fixture(scope="module")
def learned(worms: list[Path]) -> Callable[[str], tuple[VariableEntry, LearnedReadout]]:
    """`learned(variable)`: what the first four worms teach."""
    recordings = [opened(path) for path in worms[:4]]
    kept: dict[str, tuple[VariableEntry, LearnedReadout]] = {}

    def make(name: str) -> tuple[VariableEntry, LearnedReadout]:
        if name not in kept:
            entry = learn_variable(name, VARIABLES[name], recordings)
            found = learn_variable_readout(recordings, entry, CONFIG)
            assert found is not None
            kept[name] = entry, found
        return kept[name]

    return make


Learned = Callable[[str], tuple[VariableEntry, LearnedReadout]]


def test_a_worm_without_labels_is_decoded_by_its_names(worms: list[Path], learned: Learned) -> None:
    entry, readout = learned("velocity")
    r = opened(worms[4], minutes=0)
    said, trials = read_out(readout, r, entry, "readout")
    assert trials is None
    truth = np.concatenate([r.variable("velocity", s, all_labels=True).values for s in r.part("test")])[:, 0]
    mean = np.concatenate(said.mean or [])[:, 0]
    assert np.corrcoef(truth, mean)[0, 1] > 0.9
    assert np.abs(mean - truth).mean() < 0.65 * np.abs(truth - truth.mean()).mean()
    spread = np.concatenate(said.spread or [])[:, 0]
    assert 0.6 < np.mean(np.abs(truth - mean) < 1.2816 * spread) <= 1


def test_scratch_needs_labels_and_learns_from_them(worms: list[Path], learned: Learned) -> None:
    entry, readout = learned("velocity")
    r = opened(worms[4], minutes=2)
    truth = np.concatenate([r.variable("velocity", s, all_labels=True).values for s in r.part("test")])[:, 0]
    said, _ = read_out(readout, r, entry, "readout_scratch")
    assert np.corrcoef(truth, np.concatenate(said.mean or [])[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize("method", ["readout", "readout_causal", "readout_scratch"])
@pytest.mark.parametrize("variable", ["velocity", "choice"])
def test_labels_of_the_test_part_move_nothing(
    method: Any, variable: str, worms: list[Path], learned: Learned, tmp_path: Path
) -> None:
    entry, readout = learned(variable)
    plain, spoilt = (
        opened(worms[4], minutes=1),
        opened(worm(tmp_path / "w4.h5", 4, spoil_test=True), minutes=1),
    )
    for r in (plain, spoilt):
        r.variables["choice"].use_labels(("left", "right"))
    assert plain.part("test")[0].start >= 300
    a, _ = read_out(readout, plain, entry, method)
    b, _ = read_out(readout, spoilt, entry, method)
    for x, y in zip(a.mean or a.probability or [], b.mean or b.probability or [], strict=True):
        assert np.array_equal(x, y)


def test_labels_beyond_the_budget_move_nothing(worms: list[Path], learned: Learned) -> None:
    entry, readout = learned("velocity")
    few, more = opened(worms[4], minutes=0.5), opened(worms[4], minutes=0.5)
    taken = more.unlabelled[0]
    reader = more.variables["velocity"]
    real = reader.binned

    def other(*arguments: Any) -> Any:
        found = real(*arguments)
        start, stop = arguments[1], arguments[2]
        found.values[taken[start:stop]] = 1e3
        return found

    reader.binned = other  # type: ignore[method-assign]
    a, b = (read_out(readout, r, entry, "readout")[0] for r in (few, more))
    assert np.array_equal((a.mean or [])[0], (b.mean or [])[0])


def test_one_decision_per_trial(worms: list[Path], learned: Learned) -> None:
    entry, readout = learned("choice")
    r = opened(worms[4], minutes=1)
    r.variables["choice"].use_labels(entry.labels)
    said, trials = read_out(readout, r, entry, "readout")
    assert trials is not None
    probability = (said.probability or [])[0]
    assert probability.shape == (len(trials), 2)
    assert probability.sum(1) == pytest.approx(np.ones(len(trials)))
    truth = [r.variable("choice", span, all_labels=True).values[0] for span in trials.spans]
    assert np.mean(probability.argmax(1) == truth) > 0.7


def test_several_classes_and_angles(worms: list[Path], learned: Learned) -> None:
    r = opened(worms[4], minutes=1.5)
    for name in ("state", "heading"):
        entry, readout = learned(name)
        said, _ = read_out(readout, r, entry, "readout")
        truth = np.concatenate([r.variable(name, s, all_labels=True).values for s in r.part("test")])
        if name == "state":
            probability = np.concatenate(said.probability or [])
            assert np.mean(probability.argmax(1) == truth) > 0.65
        else:
            error = (np.concatenate(said.mean or []) - truth + 180) % 360 - 180
            assert np.median(np.abs(error)) < 45


def test_state_travels(learned: Learned, worms: list[Path]) -> None:
    entry, readout = learned("velocity")
    again = LearnedReadout.from_state(readout.state())
    assert again.state() == readout.state()
    r = opened(worms[4], minutes=1)
    a, b = (read_out(x, r, entry, "readout")[0] for x in (readout, again))
    assert np.array_equal((a.mean or [])[0], (b.mean or [])[0])


def test_names_that_do_not_count(worms: list[Path]) -> None:
    r = opened(worms[0])
    assert sorted(unit_names(r, CONFIG)) == sorted(NAMES)
    assert set(unit_names(r, LinearReadoutConfig(min_confidence=4))) == {""}
    assert set(unit_names(r, LinearReadoutConfig(names=""))) == {""}
    r.session.units["label"] = np.where(NAMES == "AVB", "AVA", NAMES)  # two units of one name
    assert "AVA" not in unit_names(r, CONFIG)


def test_traces_that_are_not_there(tmp_path: Path) -> None:
    recordings = [opened(worm(tmp_path / "a.h5", 0, traces=False))]
    entry = learn_variable("velocity", VARIABLES["velocity"], recordings)
    config = LinearReadoutConfig(input="traces")
    with pytest.raises(UserError, match=r"has no traces, which linear_readout\.input=traces reads"):
        learn_variable_readout(recordings, entry, config)
    found = learn_variable_readout(recordings, entry, CONFIG)
    assert found is not None
    assert found.kind == "events"
