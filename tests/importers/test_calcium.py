import sys

import numpy as np
import pytest
import scipy.signal

from neuroformer.errors import UserError
from neuroformer.importers.calcium import deconvolve, estimate_decay, noise_level
from neuroformer.importers.clocks import Ticks, ordered_ticks
from neuroformer.importers.mapping import Deconvolution
from neuroformer.session import Events


def recording(
    rng: np.random.Generator, *, step: float, decay: float, rate: float, n: int = 6000, units: int = 10
) -> tuple[np.ndarray, np.ndarray, Ticks]:
    """Traces (n, units) with noise of 0.15, the jumps behind them, and the frames."""
    jumps = rng.gamma(9, 1 / 9, (n, units)) * (rng.random((n, units)) < rate * step)
    calcium = scipy.signal.lfilter([1], [1, -np.exp(-step / decay)], jumps, axis=0)
    traces = 0.4 + calcium + rng.normal(0, 0.15, (n, units))
    return traces, jumps, ordered_ticks(np.arange(n) * step, "frames", [])


def match(events: Events, jumps: np.ndarray, ticks: Ticks) -> tuple[float, float, float]:
    """Precision and recall within one frame, and the correlation of the matched amplitudes."""
    frames = np.round((events.times - ticks.middles[0]) / ticks.step).astype(int)
    assert events.amplitudes is not None
    found = {(f, u): a for f, u, a in zip(frames, events.units.tolist(), events.amplitudes, strict=True)}
    total, pairs = len(found), []
    true = np.argwhere(jumps > 0)
    for frame, unit in true:
        near = next(
            (key for key in ((frame, unit), (frame - 1, unit), (frame + 1, unit)) if key in found), None
        )
        if near is not None:
            pairs.append((found.pop(near), jumps[frame, unit]))
    correlation = np.corrcoef(np.array(pairs).T)[0, 1]
    return len(pairs) / total, len(pairs) / len(true), float(correlation)


@pytest.mark.parametrize(
    ("step", "decay", "rate"),
    [(0.05, 0.7, 0.3), (1 / 30, 1.25, 0.3), (0.6, 3.0, 0.05)],
    ids=["20 Hz", "30 Hz", "0.6 s"],
)
@pytest.mark.parametrize("known", [True, False], ids=["decay given", "decay estimated"])
def test_events_of_a_simulated_recording_are_recovered(
    rng: np.random.Generator, step: float, decay: float, rate: float, known: bool
) -> None:
    traces, jumps, ticks = recording(rng, step=step, decay=decay, rate=rate)
    notes: list[str] = []
    events = deconvolve(traces, ticks, Deconvolution(decay=decay if known else None), notes)
    precision, recall, correlation = match(events, jumps, ticks)
    assert precision > 0.93
    assert recall > 0.93
    assert correlation > 0.9
    assert bool(notes) is not known


def test_events_stand_in_the_middle_of_the_frame_that_rises() -> None:
    trace = np.zeros((100, 1))
    trace[40:, 0] = 5 * np.exp(-np.arange(60) * 0.1 / 1.0)
    trace[:, 0] += 0.01 * np.resize([1, -1, -1, 1, 1], 100)
    ticks = ordered_ticks(np.arange(100) * 0.1, "frames", [])
    events = deconvolve(trace, ticks, Deconvolution(decay=1.0, threshold=5.0), [])
    np.testing.assert_allclose(events.times, [4.05])
    assert events.amplitudes == pytest.approx([5.0], abs=0.05)


def test_unmeasured_frames_and_the_first_after_them_hold_no_event(rng: np.random.Generator) -> None:
    traces, jumps, ticks = recording(rng, step=0.05, decay=0.7, rate=0.5)
    traces[1000:1400, 0] = np.nan
    traces[:, 1] = np.nan
    traces[:, 2] = 1.0
    notes: list[str] = []
    events = deconvolve(traces, ticks, Deconvolution(decay=0.7), notes)
    frames = np.round(events.times / 0.05 - 0.5).astype(int)
    assert not ((events.units == 0) & (frames >= 1000) & (frames <= 1400)).any()
    assert not np.isin(events.units, [1, 2]).any()
    assert notes == ["traces: 2 units are flat or never measured, without events"]
    jumps[1000:1401, 0] = jumps[:, 1:3] = 0
    precision, recall, _ = match(events, jumps, ticks)
    assert min(precision, recall) > 0.93


def test_a_gap_in_time_starts_anew(rng: np.random.Generator) -> None:
    traces, _, _ = recording(rng, step=0.05, decay=0.7, rate=0.0, n=400, units=3)
    times = np.arange(400) * 0.05
    traces[200:] += 3.0 * np.exp(-np.arange(200) * 0.05 / 0.7)[:, None]
    joined = deconvolve(traces, ordered_ticks(times, "f", []), Deconvolution(decay=0.7, threshold=3.0), [])
    assert len(joined) >= 3  # a jump in every unit
    times[200:] += 60.0  # what decays after the break rose during it, at an unknown time
    broken = deconvolve(traces, ordered_ticks(times, "f", []), Deconvolution(decay=0.7, threshold=3.0), [])
    assert len(broken) == 0


def test_a_drifting_baseline_is_followed(rng: np.random.Generator) -> None:
    traces, jumps, ticks = recording(rng, step=0.05, decay=0.7, rate=0.1)
    traces += 3 * np.sin(np.arange(len(traces)) / len(traces) * 7)[:, None]
    precision = {}
    for window in (None, 20.0):
        events = deconvolve(traces, ticks, Deconvolution(decay=0.7, baseline_window=window), [])
        precision[window] = match(events, jumps, ticks)[:2]
    assert min(precision[20.0]) > 0.85
    assert min(precision[20.0]) > min(precision[None]) + 0.1


def test_noise_and_decay_are_estimated(rng: np.random.Generator) -> None:
    traces, _, _ = recording(rng, step=0.05, decay=0.7, rate=0.3)
    assert noise_level(rng.normal(0, 0.3, 20_000)) == pytest.approx(0.3, rel=0.05)
    assert estimate_decay(traces, 0.05) == pytest.approx(0.7, rel=0.15)
    with pytest.raises(UserError, match=r"no decay can be seen.*deconvolution\.decay"):
        estimate_decay(np.resize([1.0, -1.0], (100, 2)) * [[1.0, -1.0]], 0.05)


def test_a_missing_package_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oasis", None)
    ticks = ordered_ticks(np.arange(10.0), "f", [])
    with pytest.raises(UserError, match=r"pip install 'neuroformer\[calcium\]'"):
        deconvolve(np.zeros((10, 1)), ticks, Deconvolution(), [])
