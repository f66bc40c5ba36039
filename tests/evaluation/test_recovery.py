"""A small circuit whose wiring is known, from its events to its wiring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from neuroformer.cli.config import build_config
from neuroformer.connectivity import score_connectivity
from neuroformer.connectivity.adjusted import adjusted_map
from neuroformer.connectivity.model_maps import coupling, fitted_coupling
from neuroformer.evaluation.run import evaluate
from neuroformer.evaluation.trained_run import load_run
from neuroformer.settings.evaluation import EvaluateConfig
from simulate.config import GlmConfig, WiringConfig


def test_a_known_circuit_is_recovered(
    circuit: Callable[..., Path], train: Callable[..., object], tmp_path: Path
) -> None:
    session = circuit(
        "strong",
        units=8,
        duration_s=240.0,
        wiring=WiringConfig(density=0.2, weight=1.5, hub_exponent=None),
        glm=GlmConfig(rate_hz=8.0),
    )
    train(tmp_path, session, "data.chunk_s=1.5", "data.batch_size=16", "optim.steps=250", "val_every=125")
    scores = evaluate(build_config(EvaluateConfig, words=[f"run={tmp_path}", "glm=false", "block_s=1"]))
    above = scores["difference"]["model_minus_homogeneous_poisson"]
    assert above["interval"][0] > 0
    assert scores["fraction_of_truth"]["value"] > 0.75

    run = load_run(tmp_path)
    truth = run.data.recordings[0].session.truth
    assert truth is not None
    assert (truth.weights != 0).sum() >= 5
    recording = run.data.recordings[0]
    training = [batch for part in ("train", "val") for _, batch in run.data.in_order(part)]
    fitted = fitted_coupling(run.trained.model, 0, recording)
    for estimate in (
        coupling(run.trained.model, 0),
        adjusted_map(fitted, training, name="adjusted_coupling"),
    ):
        found = score_connectivity(estimate, truth.weights, rng=np.random.default_rng(0), bootstrap=0)
        assert found.average_precision >= 0.9, estimate.name
        assert found.direction_accuracy >= 0.9, estimate.name
        assert found.sign_accuracy >= 0.8, estimate.name
