import json

import numpy as np
import pytest

from neuroformer.cli import info
from neuroformer.cli.main import main
from neuroformer.session import Events, SessionData, TimeSeries, Truth, write_session


@pytest.fixture
def bare():
    events = Events(times=np.array([1.0, 2.0, 2.0]), units=np.array([0, 1, 1]))
    return SessionData(session_id="day1", subject_id="m1", start=0.0, stop=10.0, n_units=3, events=events)


@pytest.fixture
def full(bare):
    clock = np.arange(100) / 10
    speed = np.where(np.arange(100) < 25, np.nan, 3.0)
    bare.events = Events(
        times=bare.events.times, units=bare.events.units, amplitudes=np.array([0.5, 1.0, 3.0])
    )
    bare.species = "Danio rerio"
    bare.source = "made by a test"
    bare.units = {"region": np.array(["MB", "MB", "HB"]), "cell_type": np.array(["exc", "inh", ""])}
    bare.traces = TimeSeries(timestamps=clock, values=np.ones((100, 3)), kind="continuous")
    bare.stimulus = {"movie": TimeSeries(timestamps=clock, values=np.ones((100, 8, 6)), kind="frames")}
    bare.behavior = {
        "speed": TimeSeries(timestamps=clock, values=speed, kind="continuous", unit="mm/s"),
        "turn": TimeSeries(
            timestamps=clock, values=np.arange(100) % 5 // 4 - 1, kind="categorical", labels=("left", "right")
        ),
        "heading": TimeSeries(timestamps=clock, values=clock, kind="continuous", unit="deg", period=360.0),
    }
    bare.trials = {
        "start": np.array([0.0, 5.0]),
        "stop": np.array([4.0, 9.0]),
        "outcome": np.array(["hit", "miss"]),
    }
    bare.intervals = np.array([[0.0, 4.0], [5.0, 10.0]])
    weights = np.array([[0, 0.5, 0], [0, 0, -1.0], [0, 0, 0]])
    bare.truth = Truth(
        weights=weights,
        delays=np.abs(weights) / 100,
        log_likelihood=-np.ones((2, 3)),
        block_starts=np.array([0.0, 5.0]),
        block_s=5.0,
        dt=0.001,
        emission="poisson",
        hidden=30,
    )
    return bare


def output_of(data, path, capsys, *words):
    assert main(["info", str(write_session(path, data)), *words]) == 0
    return capsys.readouterr().out


def test_the_summary_tells_what_there_is(full, tmp_path, capsys):
    text = output_of(full, tmp_path / "day1.h5", capsys)
    words = [
        "day1 (m1, Danio rerio)",
        str(tmp_path / "day1.h5"),
        "made by a test",
        "0 to 10 s (10 s)",
        "2 intervals, 9 s",
        "3, 1 of them silent",
        "MB 2, HB 1",
        "exc 1, inh 1, (unknown) 1",
        "median 0.1, 0 to 0.2 events/s",
        "1.5 on average, 0.5 to 3",
        "continuous of 3, 100 samples at 10/s",
        "frames of 8 x 6",
        "in mm/s, 25.0% missing",
        "labels left, right, 80.0% missing",
        "circular, period 360",
        "2 (outcome, start, stop)",
        "2 of 6 pairs connected (1 excitatory, 1 inhibitory), 30 hidden neurons, poisson counts",
        "in steps of 1 ms",
    ]
    assert [word for word in words if word not in text] == []


def test_what_a_session_does_not_have_is_left_out(bare, tmp_path, capsys):
    text = output_of(bare, tmp_path / "day1.h5", capsys)
    assert text.startswith("day1 (m1)\n")
    topics = {line.split()[0] for line in text.splitlines()[1:]}
    assert topics == {"file", "recorded", "valid", "units", "events", "rates"}


def test_json_says_the_same(full, tmp_path, capsys):
    summary = json.loads(output_of(full, tmp_path / "day1.h5", capsys, "format=json"))
    assert summary["duration_s"] == 10.0
    assert summary["rate_events_per_s"] == {"median": 0.1, "lowest": 0.0, "highest": 0.2}
    assert summary["amplitudes"] == {"mean": 1.5, "lowest": 0.5, "highest": 3.0}
    assert summary["regions"] == {"HB": 1, "MB": 2}
    assert summary["behavior"]["speed"]["missing"] == 0.25
    assert summary["behavior"]["turn"]["labels"] == ["left", "right"]
    assert summary["truth"]["log_likelihood_nats"] == -6.0


def test_blocks_do_not_change_the_summary(full, tmp_path, capsys, monkeypatch):
    whole = output_of(full, tmp_path / "day1.h5", capsys, "format=json")
    monkeypatch.setattr(info, "BLOCK_BYTES", 64)
    assert main(["info", str(tmp_path / "day1.h5"), "format=json"]) == 0
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize(("seconds", "text"), [(9.5, "9.5 s"), (1260.4, "21 min 0 s"), (5400, "1 h 30 min")])
def test_durations_are_short(seconds, text):
    assert info._duration(seconds) == text


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"x"), "not an HDF5 file"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "cut short"),
    ],
)
def test_a_broken_file_is_one_line(bare, tmp_path, capsys, damage, words):
    path = write_session(tmp_path / "day1.h5", bare)
    damage(path)
    assert main(["info", str(path)]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: {path}: ")
    assert words in errors
    assert errors.count("\n") == 1
