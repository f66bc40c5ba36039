"""`neuroformer ablation` on two tiny animals: the table, what is kept, and its faults in one line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuroformer.ablation.run as ablation_run
from neuroformer.ablation.scoring import known_bins, load_scores
from neuroformer.cli.ablation import COMMAND
from neuroformer.cli.command import run_command
from neuroformer.data import RecordingsModule
from neuroformer.evaluation.run import evaluate
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.session import write_session
from neuroformer.settings.evaluation import EvaluateConfig
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.input_config import BehaviorConfig

SETTINGS = """
data:
  sessions: [FOLDER/*.h5]
  bin_s: 0.05
  chunk_s: 4
  warmup_s: 0.5
  batch_size: 4
  variables:
    speed: {role: both, when: "speed > 8"}
    heading: {role: context}
model:
  coupling: {window_s: 0.1}
  history: {window_s: 0.1, functions: 2}
  trunk: {layers: 0, width: 8, heads: 2, state: 4, time_constants_s: [0.1]}
  context: {width: 8, features: 4, heads: 2}
  readout: {width: 8, heads: 2, time_constants_s: [0.1]}
  alignment: {time_constants_s: [0.2]}
optim: {steps: 2}
val_every: 2
block_s: 1
trainer: {accelerator: cpu, enable_progress_bar: false}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    for seed in (0, 1):
        behavior = BehaviorConfig(variables=["speed", "heading"], fraction=1.0)
        circuit = simulate_circuit(CircuitConfig(units=5, duration_s=40.0, seed=seed, behavior=behavior))
        name = f"animal_{seed}"
        write_session(folder / f"{name}.h5", to_session(circuit, session_id=name))
    path = folder / "run.yaml"
    path.write_text(SETTINGS.replace("FOLDER", str(folder)))
    return path


@pytest.fixture(scope="module")
def done(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "ablation"
    assert run_command(COMMAND, ["--config", str(settings), f"out={out}"]) == 0
    return out


def test_every_variant_has_its_row(done: Path) -> None:
    metrics = read_json(done / "metrics.json")
    names = [
        "full", "events_only", "plus_speed", "plus_heading", "encode_only", "decode_only", "with_alignment", "no_trunk"
    ]  # fmt: skip
    assert list(metrics["variants"]) == names
    with (done / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["variant"] for row in table] == names
    for row in table:
        about = metrics["variants"][row["variant"]]
        assert float(row["bits_per_spike"]) == pytest.approx(about["bits_per_spike"]["value"], rel=1e-4)
        assert (row["error_speed"] == "") == (
            row["variant"] in ("events_only", "plus_speed", "plus_heading", "encode_only")
        )
        assert (row["bits_per_spike_alone"] == "") == (row["variant"] in ("encode_only", "decode_only"))
        assert (row["bits_per_spike_minus_full"] == "") == (row["variant"] == "full")
    assert metrics["known_share"] == 1  # heading is known where speed is not
    assert len(metrics["sentences"]) == len(names) - 1
    assert (done / "figures/ablation.png").stat().st_size > 0


def test_bits_are_those_of_evaluate_and_errors_those_of_the_readout(done: Path, tmp_path: Path) -> None:
    place = done / "runs/full/seed_0"
    whole = evaluate(EvaluateConfig(run=str(place), glm=False, out=str(tmp_path)))
    metrics = read_json(done / "metrics.json")
    found = metrics["variants"]["full"]
    # evaluate gives the model all that is known, as the full model's own view does
    assert found["bits_per_spike"]["value"] == pytest.approx(
        whole["bits_per_spike"]["model"], rel=1e-5, abs=1e-6
    )
    assert metrics["n_events"] == whole["n_events"]
    alone = evaluate(
        EvaluateConfig(run=str(done / "runs/events_only/seed_0"), glm=False, out=str(tmp_path / "b"))
    )
    expected = alone["bits_per_spike"]["model"]
    assert metrics["variants"]["events_only"]["bits_per_spike_alone"]["value"] == pytest.approx(
        expected, rel=1e-5
    )

    scores = load_scores(place / "scores.npz", "test")
    assert scores is not None
    run = load_run(place)
    errors = []
    for recording in run.data.recordings:
        known = known_bins(recording, "test")
        score = scores[recording.session_id]
        (span,) = recording.part("test")
        speed = recording.variable("speed", span, all_labels=True)
        heading = recording.variable("heading", span)
        assert np.array_equal(known, speed.known | heading.known)
        assert np.array_equal(np.isfinite(score.error["speed"]), speed.known)
        assert np.array_equal(score.events, recording.counts(span).sum(1))
        errors.append(score.error["speed"][speed.known])
        fast = known_bins(recording, "test", "speed > 5")
        assert 0 < fast.sum() < known.sum()
        assert not (fast & ~known).any()
    assert found["error speed"]["value"] == pytest.approx(float(np.concatenate(errors).mean()))


def test_what_is_finished_is_kept_and_what_has_changed_is_trained_anew(
    done: Path,
    settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained: list[str] = []
    real = ablation_run.pretrain

    def counted(config: Any, **more: Any) -> Any:
        trained.append(config.out)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(config, **more)

    monkeypatch.setattr(ablation_run, "pretrain", counted)
    words = ["--config", str(settings), f"out={tmp_path / 'out'}", "variants=[events_only]"]
    assert run_command(COMMAND, words) == 1  # interrupted in the second run
    assert not (tmp_path / "out/metrics.json").exists()
    assert run_command(COMMAND, words) == 0
    assert [Path(t).parent.name for t in trained] == ["full", "events_only", "events_only"]
    assert "full model, seed 0: kept" in capsys.readouterr().out
    first = read_json(tmp_path / "out/metrics.json")["variants"]
    assert run_command(COMMAND, words) == 1  # finished
    assert "overwrite=true" in capsys.readouterr().err
    assert run_command(COMMAND, [*words, "overwrite=true"]) == 0
    assert len(trained) == 3
    assert read_json(tmp_path / "out/metrics.json")["variants"] == first
    assert run_command(COMMAND, [*words, "overwrite=true", "model.trunk.state=3"]) == 0
    assert len(trained) == 5
    assert first["full"] == read_json(done / "metrics.json")["variants"]["full"]  # whatever else is asked for


def test_all_variants_train_on_the_same_bins(done: Path) -> None:
    spans = set()
    for place in sorted((done / "runs").iterdir()):
        data: RecordingsModule = load_run(place / "seed_0").data
        spans.add(str([r.spans for r in data.recordings]))
    assert len(spans) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "missing out=VALUE"),
        (["out=OUT", "variants=[plus_pupil]"], 2, "'plus_pupil' is none of these settings"),
        (["out=OUT", "resume=last.ckpt"], 2, "goes on by itself"),
        (["out=OUT", "seeds=0"], 2, "seeds=0"),
        (["out=OUT", "data.sessions=[none_*.h5]"], 1, "no file matches"),
        (["out=RUN"], 1, "holds a pretrain run"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    settings: Path,
    done: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"OUT": tmp_path / "out", "RUN": done / "runs/full/seed_0"}
    for name, path in places.items():
        words = [word.replace(name, str(path)) for word in words]
    assert run_command(COMMAND, ["--config", str(settings), *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out/metrics.json").exists()
