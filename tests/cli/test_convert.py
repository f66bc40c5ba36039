import json
import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from neuroformer.cli.command import run_command
from neuroformer.cli.convert import COMMAND
from neuroformer.cli.settings import list_settings
from neuroformer.importers import load_mapping
from neuroformer.importers import mapping as mapping_module
from neuroformer.importers.mapping import ArrayMapping
from neuroformer.session import Session, validate_file

ROOT = Path(__file__).parents[2]
MAPPINGS = ROOT / "configs" / "convert"
GUIDE = (ROOT / "docs" / "convert.md").read_text(encoding="utf-8")
LIST = "events: {unit: u, time: t}\n"


def run(*arguments: object) -> int:
    return run_command(COMMAND, [str(argument) for argument in arguments])


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(LIST)
    return path


def npz(path: Path, **content: Any) -> Path:
    np.savez(path, **({"t": [0.5, 1.5], "u": [0, 1]} | content))
    return path


def test_files_become_sessions_with_a_line_each_and_a_summary(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [npz(tmp_path / "a.npz"), npz(tmp_path / "b.npz", t=[2.5, 1.5])]
    out = tmp_path / "sessions"
    assert run(*files, f"mapping={mapping}", f"out={out}") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"a.npz → {out / 'a.h5'}: 2 units, 2 events, 1.0 s"
    assert printed[2] == "  note: event times: not in order, sorted"
    assert printed[3].startswith(f"2 sessions converted to {out}: 4 units, 4 events")
    assert validate_file(out / "a.h5") == validate_file(out / "b.h5") == []
    with Session(out / "b.h5") as session:
        assert session.source == "arrays of b.npz"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["command"] == "neuroformer convert"
    assert metrics["sessions"]["b"]["notes"] == ["event times: not in order, sorted"]
    assert (out / "config.yaml").exists()


def test_a_bad_file_names_itself_and_the_others_still_convert(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, other = npz(tmp_path / "good.npz"), npz(tmp_path / "other.npz")
    bad = npz(tmp_path / "bad.npz")
    bad.write_bytes(bad.read_bytes()[:100])
    out = tmp_path / "out"
    assert run(good, bad, other, f"mapping={mapping}", f"out={out}") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {bad}: ")
    assert captured.err.count("\n") == 1
    assert captured.out.splitlines()[-1].endswith("; 1 file failed")
    assert sorted(path.name for path in out.glob("*.h5")) == ["good.h5", "other.h5"]


def test_sessions_are_added_to_a_folder_and_replaced_only_when_told(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = npz(tmp_path / "a.npz"), npz(tmp_path / "b.npz")
    arguments = (f"mapping={mapping}", f"out={tmp_path / 'out'}")
    assert run(first, *arguments) == 0
    assert run(first, second, *arguments) == 1
    assert "a.h5 exists already; add overwrite=true" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert sorted(metrics["sessions"]) == ["a", "b"]
    npz(first, t=[0.5, 9.0])
    assert run(first, *arguments, "overwrite=true") == 0
    with Session(tmp_path / "out" / "a.h5") as session:
        assert session.stop > 9


def test_the_folder_of_another_run_is_left_alone(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.json").write_text('{"command": "pretrain.py"}')
    recording = npz(tmp_path / "a.npz")
    assert run(recording, f"mapping={mapping}", f"out={tmp_path}") == 1
    assert "holds a run of pretrain.py" in capsys.readouterr().err
    assert run(recording, f"mapping={mapping}", f"out={recording}") == 1
    assert "is a file, expected a folder" in capsys.readouterr().err


def test_two_files_of_one_session_are_told_apart(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping.write_text(LIST + "session: {session_id: day1}\n")
    files = npz(tmp_path / "a.npz"), npz(tmp_path / "b.npz")
    assert run(*files, f"mapping={mapping}", f"out={tmp_path / 'out'}", "overwrite=true") == 1
    error = capsys.readouterr().err
    assert f"b.npz: is session 'day1', as is {files[0]}; tell them apart by session.session_id" in error


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "missing key": (LIST.replace("time: t", "time: tt"), {}, "no array 'tt' in the file; did you mean 't'?"),
    "nan times": (LIST, {"t": [np.nan, 1.0]}, "1 of 2 times are NaN or infinite"),
    "unit out of range": (LIST + "units: {count: 1}\n", {}, "(row 1 is 1), expected 0 to 0"),
    "negative durations": (
        LIST + "trials: {start: a, stop: b}\n",
        {"a": [2.0], "b": [1.0]},
        "(row 0: 2 to 1 s); correct start and stop",
    ),
    "empty session": (LIST, {"t": np.empty(0), "u": np.empty(0)}, "the session is empty"),
    "pickled": (LIST, {"t": np.array([{}], dtype=object)}, "holds Python objects"),
    "negative amplitudes": ("events: {unit: u, time: t, amplitude: a}\n", {"a": [1.0, -1.0]}, "negative"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_recordings_leave_one_line_and_no_file(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    text, content, message = BAD[case]
    mapping.write_text(text)
    recording = npz(tmp_path / "rec.npz", **content)
    out = tmp_path / "out"
    assert run(recording, f"mapping={mapping}", f"out={out}") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {recording}: ")
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists() or not list(out.iterdir())


def test_wrong_paths_name_the_cure(tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = npz(tmp_path / "rec.npz")
    out = f"out={tmp_path / 'out'}"
    for arguments, message in (
        ((tmp_path, f"mapping={mapping}"), "is a folder, expected a recording; name the files in it"),
        ((tmp_path / "no.npz", f"mapping={mapping}"), "no such file"),
        ((recording,), "needs mapping=FILE.yaml"),
        ((recording, "mapping=nowhere.yaml"), "nowhere.yaml: no such mapping file"),
        ((recording, f"mapping={tmp_path}"), "is a folder, expected a mapping file"),
        ((recording, "format=nwb"), "no readable NWB file"),
    ):
        assert run(*arguments, out) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert run(recording, out, "mappng=x") == 2
    assert "did you mean mapping?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", sorted(MAPPINGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_mappings_load(path: Path) -> None:
    mapping = load_mapping(path)
    assert any((mapping.events, mapping.spike_times, mapping.counts, mapping.traces))


SECTIONS = [
    ArrayMapping,
    *(cls for cls in vars(mapping_module).values() if is_dataclass(cls) and cls is not ArrayMapping),
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_the_guide_tells_of_every_key_what_its_docstring_does(section: type) -> None:
    keys = (setting for setting in list_settings(section) if "." not in setting.key)
    missing = [
        key.key for key in keys if not re.search(rf"\| `{key.key}` \|.*\| {re.escape(key.doc)} \|", GUIDE)
    ]
    assert missing == []


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_of_the_guide_load(tmp_path: Path, example: str) -> None:
    (tmp_path / "example.yaml").write_text(example)
    load_mapping(tmp_path / "example.yaml")


@pytest.mark.parametrize("suffix", ["npz", "mat", "h5", "nwb"])
def test_cut_files_of_each_format_name_the_cure(
    tmp_path: Path, mapping: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path, content = tmp_path / f"rec.{suffix}", {"t": np.arange(5000.0), "u": np.zeros(5000)}
    if suffix == "npz":
        np.savez(path, **content)
    elif suffix == "mat":
        scipy.io.savemat(path, content)
    else:
        with h5py.File(path, "w") as file:
            file.attrs["nwb_version"] = "2.4"
            file["t"] = content["t"]
    path.write_bytes(path.read_bytes()[:3000])
    assert run(path, f"mapping={mapping}", f"out={tmp_path / 'out'}") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ")
    assert "copy it anew" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


FAMILIES = {"mouse_ca1": 24, "worm": 6, "mouse_visual": 3, "rat_linear_track": 1, "nwb": 1}


@pytest.fixture(scope="module")
def converted(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All real recordings, converted: a folder of sessions by family."""
    out = tmp_path_factory.mktemp("sessions")
    for family in FAMILIES:
        files = sorted(path for path in (real_data / family).iterdir() if path.suffix in (".npz", ".nwb"))
        mapping = MAPPINGS / f"{family}.yaml"
        extra = [f"mapping={mapping}"] if mapping.exists() else []
        assert run(*files, *extra, f"out={out / family}") == 0
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_every_real_recording_converts_and_validates(converted: Path, family: str) -> None:
    sessions = sorted((converted / family).glob("*.h5"))
    assert len(sessions) == FAMILIES[family]
    assert [fault for path in sessions for fault in validate_file(path)] == []


def test_mouse_ca1_keeps_frames_ids_and_the_track(converted: Path, real_data: Path) -> None:
    with np.load(real_data / "mouse_ca1" / "C11_M1_envA_s3.npz") as raw:
        frames, amplitudes, position = raw["event_frame"], raw["event_amp"], raw["position"]
        position = np.where(raw["trial"] == 5, np.nan, position)  # misaligned: not what the cells saw
    with Session(converted / "mouse_ca1" / "C11_M1_envA_s3.h5") as session:
        assert (session.subject_id, session.n_units, session.n_events) == ("C11_M1", 472, 13069)
        events = session.events()
        np.testing.assert_array_equal(np.floor(events.times / 0.05), frames)
        assert events.amplitudes is not None
        assert events.amplitudes.sum() == pytest.approx(amplitudes.sum(), rel=1e-5)
        track = session.behavior("position")
        np.testing.assert_allclose(track.values, position * 96, rtol=1e-5)
        assert track.unit == "cm"
        assert session.units["global_id"].min() == -1
        assert len(session.intervals) == 7
        np.testing.assert_allclose(session.intervals[1:, 0], session.intervals[:-1, 1])
    with Session(converted / "mouse_ca1" / "C11_M1_envA_s6.h5") as session:
        start, stop = session.intervals[4]
        assert np.isnan(session.behavior("position", start, stop).values).all()
        assert len(session.events(start, stop).times) > 1000


def test_worm_keeps_traces_labels_and_reversals(converted: Path, real_data: Path) -> None:
    with np.load(real_data / "worm" / "2022-07-26-31.npz") as raw:
        traces, labels, reversal, times = raw["trace_F_F20"], raw["label"], raw["reversal_vec"], raw["t"]
    with Session(converted / "worm" / "2022-07-26-31.h5") as session:
        kept = session.traces()
        np.testing.assert_array_equal(kept.values, traces)
        np.testing.assert_array_equal(kept.timestamps, times.astype(np.float64))
        assert session.units["label"].tolist() == labels.tolist()
        series = session.behavior("reversal")
        assert series.labels == ("forward", "reversal")
        np.testing.assert_array_equal(series.values, reversal)
        assert "pumping" not in session.behavior_names
        per_minute = session.event_counts / session.duration * 60
        assert 5 < np.median(per_minute) < 40


def test_mouse_visual_counts_come_back_from_the_events(converted: Path, real_data: Path) -> None:
    with np.load(real_data / "mouse_visual" / "Cori_2016-12-14.npz") as raw:
        counts, left, times = raw["spikes"], raw["contrast_left"], raw["time"]
    with Session(converted / "mouse_visual" / "Cori_2016-12-14.h5") as session:
        found = np.zeros_like(counts)
        for trial, (start, stop) in enumerate(session.intervals):
            events = session.events(start, stop)
            np.add.at(found, (trial, events.units, np.floor((events.times - start) / 0.01).astype(int)), 1)
        np.testing.assert_array_equal(found, counts)
        np.testing.assert_array_equal(session.trials["contrast_left"], left)
        np.testing.assert_allclose(session.trials["start"], times[:, 0])
        assert session.stimulus("contrast").values.shape == (214, 2)


def test_rat_keeps_spike_times_and_unit_names(converted: Path, real_data: Path) -> None:
    with np.load(real_data / "rat_linear_track" / "linear-track.npz") as raw:
        times, paths = raw["spike_time"], raw["unit_path"]
    with Session(converted / "rat_linear_track" / "linear-track.h5") as session:
        np.testing.assert_array_equal(session.events().times, times)
        assert session.units["id"].tolist() == paths.tolist()
        assert session.behavior("position").values.shape[1] == 2


def test_real_nwb_keeps_spikes_and_the_epoch(converted: Path) -> None:
    with Session(converted / "nwb" / "A8604-211122.h5") as session:
        assert session.event_counts.tolist() == [11020, 4690, 5644]
        assert (session.start, session.stop) == (0.0, 1087.5289)
        assert session.units["id"].tolist() == [6, 191, 206]
