"""`neuroformer latents`: what is exported is what the model makes of each bin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.cli.command import run_command
from neuroformer.cli.latents import COMMAND
from neuroformer.cli.pretrain import COMMAND as PRETRAIN
from neuroformer.data.variables import Binned
from neuroformer.decoding.latent_figures import principal_plane
from neuroformer.decoding.latents import SessionLatents, matching
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.model.tasks import make_task
from neuroformer.session import write_session
from neuroformer.training.checkpoint import model_config, read_checkpoint
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.input_config import BehaviorConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of few steps on two animals with speed and heading, latents aligned."""
    folder = tmp_path_factory.mktemp("latents")
    for seed in (0, 1):
        behavior = BehaviorConfig(variables=["speed", "heading"], fraction=1.0)
        circuit = simulate_circuit(CircuitConfig(units=5, duration_s=40.0, seed=seed, behavior=behavior))
        name = f"animal_{seed}"
        write_session(folder / f"{name}.h5", to_session(circuit, session_id=name))
    words = [
        f"data.sessions=[{folder}/*.h5]", f"out={folder / 'run'}", "data.bin_s=0.05", "data.chunk_s=4",
        "data.warmup_s=0.5", "data.batch_size=4", "data.variables.speed.when='speed > 8'",
        "data.variables.heading.role=context", "model.coupling.window_s=0.1", "model.history.window_s=0.1",
        "model.trunk.layers=0", "model.trunk.width=8", "model.trunk.heads=2", "model.trunk.state=4",
        "model.trunk.time_constants_s=[0.1]", "model.context.width=8", "model.context.heads=2",
        "model.readout.width=8", "model.readout.heads=2", "model.readout.time_constants_s=[0.1]",
        "model.alignment.weight=0.5", "model.alignment.width=6", "model.alignment.time_constants_s=[0.2]",
        "model.alignment.gap_s=0.5", "optim.steps=10", "val_every=5", "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    assert run_command(PRETRAIN, words) == 0
    return folder / "run"


def test_training_logs_the_alignment_and_its_checkpoint_rebuilds_it(run: Path) -> None:
    text = (run / "log.csv").read_text().splitlines()
    column = text[0].split(",").index("train_align")
    values = [float(line.split(",")[column]) for line in text[1:] if line.split(",")[column]]
    assert values
    assert np.isfinite(values).all()
    content = read_checkpoint(run / "checkpoints/best.ckpt")
    config = model_config(content["neuroformer"]["settings"]["model"])
    assert config.alignment.weight == 0.5
    assert config.alignment.time_constants_s == [0.2]
    model = load_run(run).trained.model
    assert model.alignment is not None
    assert torch.equal(content["state_dict"]["model.alignment.log_scale"], model.alignment.log_scale.detach())


def test_what_is_written_is_what_the_model_says(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, [f"run={run}", f"out={tmp_path}"]) == 0
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["latents"] == {"trunk": 4, "readout": 8, "aligned_events": 6, "aligned_behavior": 6}
    assert sorted(p.stem for p in (tmp_path / "figures").iterdir()) == ["aligned", "readout", "trunk"]
    assert "own moment found among 20" in capsys.readouterr().out
    trained = load_run(run)
    model = trained.trained.model
    for recording in trained.data.recordings:
        with np.load(tmp_path / f"{recording.session_id}.npz") as file:
            found = dict(file)
        (span,) = recording.part("test")
        epoch = recording.epochs[span.epoch]
        assert found["time"] == pytest.approx(epoch.start + (np.arange(span.start, span.stop) + 0.5) * 0.05)
        speed = recording.variable("speed", span)
        assert np.array_equal(found["variable_speed"], speed.values)
        assert np.array_equal(found["known_speed"], speed.known)
        assert 0 < speed.known.sum() < len(span)
        (batch,) = trained.data.batches_of(recording, [span])  # in one piece
        with torch.no_grad():
            seen = make_task("spikes", batch, model.variables).seen
            assert model.trunk is not None
            assert model.readout is not None
            state = model.trunk.state(seen, model.event_weight(seen))[0]
            query = model.readout.state(seen, model.event_weight(seen), None)[0]
            latents = {m: x[0].numpy() for m, (x, _) in model.latents(batch).items()}
        assert np.allclose(found["latent_trunk"], state.numpy(), atol=1e-5)
        assert np.allclose(found["latent_readout"], query.numpy(), atol=1e-5)
        assert np.allclose(found["latent_aligned_events"], latents["events"], atol=1e-5)
        there = np.isfinite(found["latent_aligned_behavior"]).all(1)
        assert there.sum() > 0.9 * len(span)  # heading is known where speed is not
        assert np.allclose(found["latent_aligned_behavior"][there], latents["behavior"][there], atol=1e-5)
        assert np.allclose(np.linalg.norm(found["latent_aligned_events"], axis=1), 1, atol=1e-5)


def test_all_bins_and_one_variable(run: Path, tmp_path: Path) -> None:
    words = [f"run={run}", f"out={tmp_path}", "part=all", "variables=[heading]", "shown=1"]
    assert run_command(COMMAND, words) == 0
    assert {s["bins"] for s in read_json(tmp_path / "metrics.json")["sessions"].values()} == {800}


def test_matching_is_one_for_equal_latents_and_chance_for_unrelated_or_collapsed_ones(
    rng: np.random.Generator,
) -> None:
    n = 900

    def unit(values: np.ndarray) -> np.ndarray:
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def score(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        session = SessionLatents(
            session_id="a",
            time=0.1 * np.arange(n),
            span=np.zeros(n, int),
            latents={"aligned_events": a, "aligned_behavior": b},
            variables={"speed": Binned(values=np.zeros((n, 1)), known=np.ones(n, bool))},
        )
        found = matching(session, gap_s=1.0, rng=np.random.default_rng(0))
        return {pair: about["accuracy"] for pair, about in found.items()}

    a, b = unit(rng.standard_normal((n, 8))), unit(rng.standard_normal((n, 8)))
    assert score(a, a) == {"events → behavior": 1.0, "behavior → events": 1.0}
    assert all(abs(value - 0.05) < 0.03 for value in score(a, b).values())
    same = np.ones((n, 8)) / np.sqrt(8)
    assert all(value == pytest.approx(0.05) for value in score(same, same).values())


def test_the_principal_plane_is_that_of_the_covariance(rng: np.random.Generator) -> None:
    values = rng.standard_normal((500, 3)) @ np.diag([3.0, 2.0, 0.5]) + 7
    holes = np.concatenate([values, np.full((10, 3), np.nan)])
    mean, axes, share = principal_plane(holes)
    _, singular, rows = np.linalg.svd(values - values.mean(0), full_matrices=False)
    assert np.allclose(mean, values.mean(0))
    assert np.allclose(np.abs(axes.T), np.abs(rows[:2]))
    assert np.allclose(share, singular[:2] ** 2 / (singular**2).sum())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "missing run=VALUE"),
        (["run=nowhere"], 1, "nowhere: not the folder of a pretrain run"),
        (["run=RUN", "variables=[pupil]"], 2, "no variable 'pupil' to colour by; it has speed, heading"),
        (["run=RUN", "part=tset"], 2, "part"),
        (["run=RUN", "points=0"], 2, "points=0"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str], code: int, message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("RUN", str(run)) for word in words]
    assert run_command(COMMAND, [*words, f"out={tmp_path / 'out'}"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
