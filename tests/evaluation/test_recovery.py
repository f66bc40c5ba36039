"""A small circuit whose wiring is known, from its events to its wiring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from neuroformer.cli.config import build_config
from neuroformer.connectivity import score_connectivity
from neuroformer.connectivity.model_maps import coupling
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
    found = score_connectivity(
        coupling(run.trained.model, 0), truth.weights, rng=np.random.default_rng(0), bootstrap=0
    )
    assert found.average_precision >= 0.9
    assert found.direction_accuracy >= 0.9
    assert found.sign_accuracy >= 0.8
