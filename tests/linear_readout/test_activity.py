"""Activity of a session around bins and in windows of trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroformer.data import Recording, Span
from neuroformer.linear_readout.activity import (
    BinFeatures,
    Standard,
    TrialFeatures,
    choose_input,
    find_trials,
    held,
    read_activity,
    window_means,
)
from neuroformer.linear_readout.basis import raised_cosines
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.data import SplitConfig

BIN_S = 0.1


def recording(
    path: Path, *, traces: bool = True, frame_s: float = BIN_S, trials: bool = True, seed: int = 0
) -> Recording:
    rng = np.random.default_rng(seed)
    time = np.arange(0, 40, frame_s) + 0.01
    values = rng.normal(5, 2, (len(time), 3)).astype(np.float32)
    values[:, 2] = np.nan
    values[20:30, 1] = np.nan
    times = np.sort(rng.uniform(0, 40, 600))
    start = np.arange(0.5, 39, 2.0)
    table = {"start": start, "stop": start + 0.9} if trials else {}
    write_session(path, SessionData(
        session_id=path.stem, subject_id=path.stem, start=0.0, stop=40.0, n_units=3,
        events=Events(times=times, units=rng.integers(0, 3, 600).astype(np.int32)), trials=table,
        traces=TimeSeries(timestamps=time, values=values, kind="continuous") if traces else None,
    ))  # fmt: skip
    return Recording(path, bin_s=BIN_S, split=SplitConfig(val=0.1, test=0.25), context_bins=5)


def test_traces_of_a_slice_are_those_of_the_whole(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5")
    whole = r.traces(Span(epoch=0, start=0, stop=400))
    assert whole.shape == (400, 3)
    assert np.array_equal(whole[37:61], r.traces(Span(epoch=0, start=37, stop=61)), equal_nan=True)
    values = r.session.traces().values
    assert whole[:, 0] == pytest.approx(values[:, 0])
    assert np.isnan(whole[20:30, 1]).all()
    assert np.isnan(whole[:, 2]).all()


def test_frames_of_a_bin_are_averaged_over_those_that_are_known(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5", frame_s=0.025)
    values = r.session.traces().values.astype(float)
    found = r.traces(Span(epoch=0, start=4, stop=6))
    assert found[0, 0] == pytest.approx(values[16:20, 0].mean(), rel=1e-6)
    # Frames 20 to 29 of unit 1 are missing: all of bin 5 but none of bin 4.
    assert found[0, 1] == pytest.approx(values[16:20, 1].mean(), rel=1e-6)
    assert np.isnan(found[1, 1])


def test_slow_frames_hold_and_long_gaps_do_not(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5", frame_s=0.15)
    raw = r.traces(Span(epoch=0, start=0, stop=300))[:, 0]
    assert np.isnan(raw).sum() > 50
    found = read_activity(r, Span(epoch=0, start=0, stop=300), "traces")
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 2]).all()
    gap = np.array([[1.0], [np.nan], [np.nan], [np.nan], [2.0]])
    assert held(gap, 2)[:, 0] == pytest.approx([1, 1, 1, np.nan, 2], nan_ok=True)


def test_missing_traces_are_masked(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5")
    basis = raised_cosines(before_s=0.0, after_s=0.0, functions=1, bin_s=BIN_S)
    x = BinFeatures.of(r, "traces", basis)(Span(epoch=0, start=0, stop=100))
    assert np.isfinite(x).all()
    assert (x[:, 2] == 0).all()
    assert (x[21:30, 1] == 0).all()  # the first missing frame is held for a bin
    train = np.concatenate([r.traces(span)[:, 0] for span in r.part("train")])
    assert x[:, 0, 0] == pytest.approx(
        (r.traces(Span(epoch=0, start=0, stop=100))[:, 0] - train.mean()) / train.std(), abs=1e-4
    )


def test_standards_come_from_training_alone(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5")
    basis = raised_cosines(before_s=0.2, after_s=0.2, functions=2, bin_s=BIN_S)
    first = BinFeatures.of(r, "events", basis)
    parts = [np.sqrt(basis(r.counts(span).astype(float))) for span in r.part("train")]
    assert first.standard.mean == pytest.approx(np.concatenate(parts).mean(0))


def test_a_nearly_silent_unit_is_not_blown_up() -> None:
    x = np.concatenate([np.zeros((99, 2)), np.ones((1, 2))])
    x[:, 0] = np.tile([0.0, 10.0], 50)
    assert Standard.of([x]).scale == pytest.approx([5.0, 0.25 * np.sqrt((25 + 0.0099) / 2)])


def test_trials_lie_whole_in_their_part(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5")
    seen = []
    for part in ("train", "val", "test"):
        trials = find_trials(r, r.part(part))  # type: ignore[arg-type]
        for span, number in zip(trials.spans, trials.number, strict=True):
            assert any(s.start <= span.start and span.stop <= s.stop for s in r.part(part))  # type: ignore[arg-type]
            assert span.start == round(r.session.trials["start"][number] / BIN_S)
            assert len(span) == 9
        seen += trials.number.tolist()
    assert len(seen) == len(set(seen)) > 15


def test_windows_of_a_trial_are_means_of_its_thirds(tmp_path: Path) -> None:
    r = recording(tmp_path / "a.h5")
    trials = find_trials(r, r.part("train"))
    found = window_means(r, trials, "events", 3)
    counts = r.counts(trials.spans[2])
    assert found[2] == pytest.approx(counts.reshape(3, 3, 3).mean(1).T)
    x = TrialFeatures.of(r, "events", 3)(trials)
    assert x.mean(0) == pytest.approx(np.zeros((3, 3)), abs=1e-12)


def test_traces_where_all_have_them(tmp_path: Path) -> None:
    a, b = recording(tmp_path / "a.h5"), recording(tmp_path / "b.h5", traces=False)
    assert choose_input([a], "auto") == "traces"
    assert choose_input([a, b], "auto") == "events"
    assert choose_input([a], "events") == "events"
