"""`neuroformer generate`: files that every other command reads, and faults in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.evaluate import COMMAND as EVALUATE
from neuroformer.cli.generate import COMMAND
from neuroformer.cli.info import COMMAND as INFO
from neuroformer.data import Recording, Span
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.generation import GenerationOptions, generate_part, generate_spans, generated_by
from neuroformer.session import Session, validate_file, write_session


def test_a_file_per_stream_that_other_commands_read(
    trained: Path, circuit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    words = [f"run={trained}", f"out={out}", "streams=3", "part=train", "duration_s=12", "seed=4"]
    assert run_command(COMMAND, [*words, "silence=[2]", "stimulate=[1@0.5,1@20Hz]"]) == 0
    printed = capsys.readouterr().out
    assert "events/s" in printed
    assert "real time" in printed
    metrics = read_json(out / "metrics.json")
    assert metrics["generated_seconds"] == pytest.approx(36)
    real = Session(circuit())
    total = 0
    for stream, file in enumerate(metrics["files"]):
        assert validate_file(file) == []
        made = Session(file)
        assert (made.session_id, made.subject_id, made.n_units) == ("a", real.subject_id, real.n_units)
        assert all(np.array_equal(made.units[k], real.units[k]) for k in real.units)
        assert made.intervals[0, 1] - made.intervals[0, 0] == pytest.approx(12)
        assert made.event_counts[2] == 0
        marks = made.stimulus("stimulation")
        assert 12 * 20 * 0.7 < marks.values.sum() < 12 * 20 * 1.3
        assert made.intervals[0, 0] + 0.5 in marks.timestamps
        assert made.event_counts[1] >= marks.values.sum()
        about = generated_by(made)
        assert about is not None
        assert (about["seed"], about["stream"], about["imitates"]) == (4, stream, "a")
        total += made.n_events
    assert generated_by(real) is None
    assert total == metrics["n_events"]
    assert len({Session(f).events().times.tobytes() for f in metrics["files"]}) == 3
    assert run_command(INFO, [metrics["files"][0], "format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_silent_units"] >= 1
    words = [f"run={trained}", f"sessions=[{metrics['files'][0]}]", "glm=false", f"out={tmp_path / 'score'}"]
    assert run_command(EVALUATE, words) == 0


def test_one_file_that_is_not_overwritten(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one.h5"
    words = [f"run={trained}", f"out={out}", "duration_s=1", "prefix_s=0", "ceiling=none"]
    assert run_command(COMMAND, [*words, "session_id=twin_{stream}"]) == 0
    assert Session(out).session_id == "twin_0"
    first = out.read_bytes()
    assert run_command(COMMAND, words) == 1
    assert "exists already" in capsys.readouterr().err
    assert out.read_bytes() == first
    assert run_command(COMMAND, [*words, "overwrite=true"]) == 0
    assert Session(out).session_id == "a"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["session=b"], 1, "session=b: no session of this run (a)"),
        (["session=OTHER"], 1, "session 'b' is not in the model's vocabulary"),
        (["silence=[99]"], 1, "silence: no unit '99' in this session"),
        (["stimulate=[99@1]"], 1, "stimulate: no unit '99' in this session"),
        (["stimulate=[1]"], 2, "expected UNIT@SECONDS or UNIT@RATEHz"),
        (["stimulate=[1@500]"], 1, "comes after the end of every stretch"),
        (["stimulate=[1@1]", "silence=[1]"], 1, "silence and stimulate both name unit '1'"),
        (["prefix_s=0.01"], 1, "prefix_s=0.01: the model looks"),
        (["condition=[speed]"], 1, "condition: 'speed' is no input of this model; it has none"),
        (["temperature=0"], 2, "temperature=0"),
        (["top_k=0"], 2, "top_k=0"),
        (["top_p=1.5"], 2, "top_p=1.5"),
        (["ceiling=high"], 2, "ceiling=high: expected validation, none, or Hz"),
        (["part=all"], 2, "part"),
        (["session_id={other}"], 2, "session_id"),
        (["out=x.h5", "streams=2"], 2, "several streams are a file each"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    trained: Path,
    circuit: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace("OTHER", str(circuit("b", seed=1))) for word in words]
    out = [] if any(word.startswith("out=") for word in words) else [f"out={tmp_path / 'out'}"]
    assert run_command(COMMAND, [f"run={trained}", *words, *out]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def with_behavior(
    circuit: Callable[..., Path], train: Callable[..., object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run on a session with a behaviour and amplitudes."""
    from neuroformer.session import TimeSeries

    folder = tmp_path_factory.mktemp("behavior")
    data = Session(circuit()).load()
    rng = np.random.default_rng(0)
    times = np.arange(0, 40, 0.02)
    data.behavior = {
        "speed": TimeSeries(timestamps=times, values=np.sin(times), kind="continuous", unit="cm/s")
    }
    data.events = replace(data.events, amplitudes=rng.gamma(2, 1, len(data.events)).astype(np.float32))
    data.truth = None
    write_session(folder / "s.h5", data)
    train(
        folder / "run", folder / "s.h5", "data.variables.speed.role=both", "data.levels=3", "optim.steps=10"
    )
    return folder / "run"


def test_behaviour_is_given_and_copied_and_amplitudes_are_those_of_levels(
    with_behavior: Path, tmp_path: Path
) -> None:
    assert run_command(COMMAND, [f"run={with_behavior}", f"out={tmp_path / 'x.h5'}"]) == 0
    made, run = Session(tmp_path / "x.h5"), load_run(with_behavior)
    entry = run.trained.vocabulary["a"]
    assert set(made.events().amplitudes.tolist()) <= set(entry.level_amplitudes.astype(np.float32).tolist())
    assert made.behavior_names == ("speed",)
    # The model sees in the file what it was given.
    recording = run.data.recordings[0]
    span = recording.part("test")[0]
    copy = Recording(
        tmp_path / "x.h5",
        bin_s=0.005,
        split=run.data.config.split,
        context_bins=1,
        variables=run.data.config.variables,
    )
    given = recording.variable("speed", span, all_labels=True)
    found = copy.variable("speed", Span(epoch=0, start=0, stop=len(span)), all_labels=True)
    assert copy.epochs[0].n_bins == len(span)
    assert np.allclose(given.values[1:], found.values[1:])
    assert run_command(COMMAND, [f"run={with_behavior}", f"out={tmp_path / 'y.h5'}", "condition=[]"]) == 0
    assert Session(tmp_path / "y.h5").behavior_names == ()


def test_time_beyond_the_recording_needs_no_behaviour(
    with_behavior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={with_behavior}", f"out={tmp_path / 'long.h5'}", "duration_s=8"]
    assert run_command(COMMAND, words) == 1
    assert "stimulus and behaviour (speed) end at 40 s" in capsys.readouterr().err
    assert run_command(COMMAND, [*words, "condition=[]"]) == 0
    assert Session(tmp_path / "long.h5").stop > 40


def test_stretches_of_arrays(with_behavior: Path) -> None:
    run = load_run(with_behavior)
    model, vocabulary, recording = run.trained.model, run.trained.vocabulary, run.data.recordings[0]
    test = recording.part("test")[0]
    stretches = generate_part(model, vocabulary, recording, "test", n=2, seed=1)
    assert [s.span for s in stretches] == recording.part("test")
    assert len(stretches[0].streams) == 2
    short = Span(epoch=test.epoch, start=test.start, stop=test.start + 40)
    middle = Span(epoch=test.epoch, start=test.start + 50, stop=test.start + 600)
    places = [(recording, span) for span in (short, middle)]
    together, apart = (
        generate_spans(
            model, vocabulary, places, n=2, seed=1, options=GenerationOptions(parallel=p, keep_intensity=True)
        )
        for p in (4, 1)
    )
    for a, b in zip(together, apart, strict=True):
        for x, y, size in zip(a.streams, b.streams, a.log_intensity, strict=True):
            assert np.array_equal(x.bins, y.bins)
            assert np.array_equal(x.units, y.units)
            assert np.array_equal(x.levels, y.levels)
            assert size.shape == (len(a.span), 6)
            assert x.bins.max(initial=0) < len(a.span)
    # The same seed, place and number: the start of the stretch that begins there.
    begun = stretches[0].streams[0]
    assert np.array_equal(begun.bins[begun.bins < 40], together[0].streams[0].bins)
