"""`neuroformer calibrate` on a small circuit: files, figures that agree with the arrays, and repeatability."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.calibration.figure import draw_page
from neuroformer.calibration.run import calibrate, calibrate_recording, own_intensities, stretches, trials_of
from neuroformer.data import Recording
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import read_json, write_json
from neuroformer.session import Session, write_session
from neuroformer.settings.calibrate import CalibrateConfig

QUICK: dict[str, Any] = {
    "copies": 3,
    "block_s": 0.5,
    "stretch_s": 1.5,
    "fano_s": 0.1,
    "min_events": 5,
    "splits": 30,
}


@pytest.fixture(scope="module")
def done(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "out"
    calibrate(CalibrateConfig(run=str(trained), out=str(out), **QUICK))
    return out


@pytest.fixture(scope="module")
def run(trained: Path) -> TrainedRun:
    return load_run(trained)


def test_the_files_say_the_same(done: Path, run: TrainedRun) -> None:
    recording = run.data.recordings[0]
    found = read_json(done / "metrics.json")["sessions"]["a"]
    counts = np.concatenate([recording.counts(span) for span in recording.part("test")])
    assert found["n_events"] == counts.sum()
    assert found["seconds"] == pytest.approx(len(counts) * recording.bin_s)
    assert found["n_blocks"] >= 4
    with (done / "per_unit_a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["n_events"]) for row in rows] == list(counts.sum(0))
    rates = counts.mean(0) / recording.bin_s
    np.testing.assert_allclose([float(row["rate_hz"]) for row in rows], rates, rtol=1e-5)
    generated = [float(row["rate_hz_generated"]) for row in rows]
    assert found["rates"]["r"] == pytest.approx(np.corrcoef(rates, generated)[0, 1], abs=1e-4)
    for name, each in found["units"].items():
        tested = [row for row in rows if row[f"{name}_within"]]
        assert len(tested) == each["tested"]
        within = np.mean([row[f"{name}_within"] == "1" for row in tested])
        assert each["share_within"] == pytest.approx(within)
    passed = np.mean([float(row["rescaling_p"]) >= 0.05 for row in rows if row["rescaling_p"]])
    assert found["time_rescaling"]["share_passed"] == pytest.approx(passed)
    with np.load(done / "calibration_a.npz") as arrays:
        assert len(arrays["rescaled"]) == counts.sum()
        assert arrays["interval_real"].shape == (6, len(arrays["interval_edges"]) - 1)
    assert (done / "figures" / "calibration_a.png").stat().st_size > 10_000


def test_a_seed_gives_the_same_again(done: Path, run: TrainedRun, tmp_path: Path) -> None:
    config, recording = CalibrateConfig(run="", **QUICK), run.data.recordings[0]
    found, ceiling_hz = calibrate_recording(
        run, recording, stretches(recording, "test", config), None, config
    )
    write_json(tmp_path / "again.json", {"ceiling_hz": ceiling_hz, **found.table()})
    assert read_json(tmp_path / "again.json") == read_json(done / "metrics.json")["sessions"]["a"]


def test_the_intensities_are_those_of_the_evaluation(run: TrainedRun) -> None:
    import torch

    recording = run.data.recordings[0]
    config = CalibrateConfig(run="", **QUICK)
    spans = stretches(recording, "test", config)
    pieces = list(own_intensities(run, recording, spans, None))
    intensity, counts = (np.concatenate([piece[k] for piece in pieces]) for k in (0, 1))
    whole = recording.part("test")
    np.testing.assert_array_equal(counts, np.concatenate([recording.counts(span) for span in whole]))
    with torch.no_grad():
        batch = next(run.data.batches_of(recording, whole[:1]))
        expected = run.trained.model(batch)[0].exp()[0].numpy()
    np.testing.assert_allclose(intensity[: len(expected)], expected, rtol=1e-3)
    low = np.concatenate([piece[0] for piece in own_intensities(run, recording, spans, 0.01)])
    np.testing.assert_allclose(low, np.minimum(intensity, 0.01))


def test_stretches_cover_the_part_and_end_at_the_limit(run: TrainedRun) -> None:
    recording = run.data.recordings[0]
    whole = sum(map(len, recording.part("test")))
    found = stretches(recording, "test", CalibrateConfig(run="", stretch_s=1.5))
    assert sum(map(len, found)) == whole
    assert min(map(len, found)) >= round(1.5 / recording.bin_s)
    capped = stretches(recording, "test", CalibrateConfig(run="", stretch_s=1.5, max_s=2.0))
    assert sum(map(len, capped)) == round(2.0 / recording.bin_s)
    assert capped[0] == found[0]


@pytest.fixture(scope="module")
def with_trials(circuit: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Circuit `a` with trials of half a second, every 0.6 s, of three stimuli in turn."""
    with Session(circuit()) as session:
        data = session.load()
    start = np.arange(data.start, data.stop - 0.6, 0.6)
    trials = {
        "start": start,
        "stop": start + 0.5,
        "grating": np.arange(len(start)) % 3 * 45.0,
        "number": np.arange(len(start)),
        "tone": np.full(len(start), "high"),
    }
    path = tmp_path_factory.mktemp("trials") / "a.h5"
    return write_session(path, dataclasses.replace(data, trials=trials))


def recording_of(run: TrainedRun, path: Path) -> Recording:
    return load_run(run.folder, sessions=[str(path)]).data.recordings[0]


def test_trials_are_whole_and_where_they_were(run: TrainedRun, with_trials: Path) -> None:
    recording = recording_of(run, with_trials)
    spans = stretches(recording, "test", CalibrateConfig(run="", stretch_s=1.5))
    found = trials_of(recording, spans, CalibrateConfig(run="", stimulus="grating"))
    assert found is not None
    assert found.labels == ("0.0", "45.0", "90.0")
    times = np.concatenate(
        [recording.epochs[s.epoch].start + np.arange(s.start, s.stop) * recording.bin_s for s in spans]
    )
    edges = np.cumsum([len(s) for s in spans])
    starts = recording.session.trials["start"]
    for first, stimulus in zip(found.start, found.stimulus, strict=True):
        nearest = int(np.abs(starts - times[first]).argmin())
        assert abs(starts[nearest] - times[first]) <= recording.bin_s
        assert stimulus == nearest % 3
        assert not ((edges > first) & (edges < first + found.n_bins)).any()


def test_responses_and_noise_correlations_where_there_are_trials(run: TrainedRun, with_trials: Path) -> None:
    config, recording = CalibrateConfig(run="", stimulus="tone", **QUICK), recording_of(run, with_trials)
    spans = stretches(recording, "test", config)
    trials = trials_of(recording, spans, config)
    found, _ = calibrate_recording(run, recording, spans, trials, config)
    assert found.table()["pairs"]["kind"] == "noise"
    (response,) = found.responses
    assert response.label == "high"
    assert response.n_trials >= 4
    assert len(draw_page(found).axes) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stimulus": "shape"}, "has no such column of trials; it has grating, number, tone"),
        ({"stimulus": "grating", "pair_s": 0.4}, "expected whole trials of 240 bins or more"),
    ],
)
def test_faults_of_trials(run: TrainedRun, with_trials: Path, change: dict[str, Any], message: str) -> None:
    recording = recording_of(run, with_trials)
    config = CalibrateConfig(run="", stretch_s=1.5, **change)
    with pytest.raises(UserError, match=message):
        trials_of(recording, stretches(recording, "test", config), config)
