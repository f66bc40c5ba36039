"""`evaluate` against a computation of its own with NumPy and SciPy."""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from neuroformer.baselines.glm import PoissonGLM
from neuroformer.cli.config import build_config
from neuroformer.data import Recording, Span
from neuroformer.data.tokens import Tokens
from neuroformer.errors import UserError
from neuroformer.evaluation.blocks import log_likelihood, score_blocks
from neuroformer.evaluation.run import constant_rate, evaluate, session_glm
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import read_json
from neuroformer.session import Session
from neuroformer.settings.evaluation import EvaluateConfig
from neuroformer.settings.glm import GLMConfig

Evaluated = tuple[Path, dict[str, Any]]
NULL = "homogeneous_poisson"


def score(run: Path, *words: str) -> dict[str, Any]:
    return evaluate(build_config(EvaluateConfig, words=[f"run={run}", *words]))


def intensities(run: TrainedRun) -> tuple[np.ndarray, np.ndarray]:
    """(bins, N) expected events of the test spans, and the counts, straight from the model and the file."""
    recording = run.data.recordings[0]
    expected, counts = [], []
    events = Session(recording.session.path).load().events
    for span in recording.part("test"):
        for batch in run.data.batches_of(recording, [span]):
            with torch.no_grad():
                expected.append(run.trained.model(batch)[0].double().exp()[0].numpy())
        edges = recording.epochs[span.epoch].start + np.arange(span.start, span.stop + 1) * recording.bin_s
        counts.append(
            np.stack(
                [
                    np.histogram(events.times[events.units == unit], edges)[0]
                    for unit in range(recording.session.n_units)
                ],
                axis=1,
            )
        )
    return np.concatenate(expected), np.concatenate(counts)


def test_scores_are_those_of_an_independent_computation(evaluated: Evaluated) -> None:
    folder, metrics = evaluated
    run = load_run(folder)
    expected, counts = intensities(run)
    null = poisson.logpmf(counts, run.trained.vocabulary["a"].train_rate)
    bits = (poisson.logpmf(counts, expected) - null) / math.log(2)
    assert metrics["n_events"] == counts.sum()
    assert metrics["test_seconds"] == pytest.approx(len(counts) * 0.005)
    assert metrics["bits_per_spike"]["model"] == pytest.approx(bits.sum() / counts.sum(), abs=1e-5)
    assert metrics["bits_per_spike"][NULL] == 0
    assert metrics["intervals"]["bits_per_spike"][NULL] == [0, 0]
    fired = counts.sum(0) > 0
    unit_mean = (bits.sum(0)[fired] / counts.sum(0)[fired]).mean()
    assert metrics["bits_per_spike_unit_mean"]["model"] == pytest.approx(unit_mean, abs=1e-5)


def test_the_truth_is_that_of_the_simulator(evaluated: Evaluated) -> None:
    folder, metrics = evaluated
    run = load_run(folder)
    truth = run.data.recordings[0].session.truth
    assert truth is not None
    span = run.data.recordings[0].part("test")
    _, counts = intensities(run)
    per_block = round(truth.block_s / 0.005)
    starts = np.concatenate([np.arange(s.start, s.stop) for s in span])
    block = starts // per_block
    whole = [b for b in np.unique(block) if (block == b).sum() == per_block]
    inside = np.isin(block, whole)
    null = poisson.logpmf(counts[inside], run.trained.vocabulary["a"].train_rate).sum()
    bits = (truth.log_likelihood[whole].sum() - null) / math.log(2) / counts[inside].sum()
    assert len(whole) >= 3
    assert metrics["bits_per_spike"]["truth"] == pytest.approx(bits, abs=1e-6)
    assert metrics["bits_per_spike"]["truth"] > metrics["bits_per_spike"]["model"]


def test_the_truth_is_comparable_when_it_ran_on_a_finer_clock(
    circuit: Callable[..., Path], train: Callable[..., Any], tmp_path: Path
) -> None:
    from simulate.config import GlmConfig

    session = circuit(
        "fine", dt_s=0.001, duration_s=60.0, glm=GlmConfig(emission="bernoulli", refractory_s=0.002)
    )
    train(tmp_path, session, "optim.steps=60", "val_every=20")
    bits = score(tmp_path, "glm=false")["bits_per_spike"]
    assert 0 < bits["model"] < bits["truth"] < 2


def test_no_truth_stands_beside_events_whose_likelihood_is_not_known(
    circuit: Callable[..., Path], train: Callable[..., Any], tmp_path: Path
) -> None:
    from simulate.calcium_config import CalciumConfig

    train(tmp_path, circuit("calcium", calcium=CalciumConfig(frame_rate_hz=20.0)), "data.bin_s=0.05")
    scores = score(tmp_path, "glm=false")
    assert set(scores["bits_per_spike"]) == {"model", NULL}
    assert "fraction_of_truth" not in scores


def test_results_are_complete_and_consistent(evaluated: Evaluated) -> None:
    folder, returned = evaluated
    metrics = read_json(folder / "evaluate/metrics.json")
    assert metrics["command"] == "neuroformer evaluate"
    methods = {"model", "poisson_glm", NULL, "truth"}
    assert set(metrics["bits_per_spike"]) == set(metrics["intervals"]["bits_per_spike"]) == methods
    for name, (low, high) in metrics["intervals"]["bits_per_spike"].items():
        assert low <= metrics["bits_per_spike"][name] <= high
    assert set(metrics["difference"]) == {"model_minus_poisson_glm", f"model_minus_{NULL}"}
    for name, found in metrics["difference"].items():
        other = metrics["bits_per_spike"][name.removeprefix("model_minus_")]
        assert found["value"] == pytest.approx(metrics["bits_per_spike"]["model"] - other)
        assert found["interval"][0] <= found["value"] <= found["interval"][1]
    low, high = metrics["fraction_of_truth"]["interval"]
    assert low <= metrics["fraction_of_truth"]["value"] <= high
    assert set(metrics["bits_per_spike_unit_mean"]) == methods - {"truth"}
    assert metrics["sessions"]["a"]["bits_per_spike"] == metrics["bits_per_spike"]  # there is but one
    assert metrics["bits_per_spike"] == pytest.approx(returned["bits_per_spike"])


def test_units_add_up_to_the_total(evaluated: Evaluated) -> None:
    folder, metrics = evaluated
    with (folder / "evaluate/per_unit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["session_id"], int(row["unit"])) for row in rows] == [("a", unit) for unit in range(6)]
    events = np.array([int(row["n_events"]) for row in rows])
    assert events.sum() == metrics["n_events"]
    for name in ("model", "poisson_glm"):
        bits = np.array([float(row[name] or 0) for row in rows])
        assert (bits * events).sum() / events.sum() == pytest.approx(
            metrics["bits_per_spike"][name], abs=1e-5
        )


def test_the_raster_shows_the_start_of_the_test(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    run = load_run(folder)
    expected, counts = intensities(run)
    span = run.data.recordings[0].part("test")[0]
    with np.load(folder / "evaluate/raster.npz") as raster:
        n = min(len(span), 1000)  # 5 s of bins of 5 ms
        assert raster["counts"].shape == raster["intensity"].shape == (n, 6)
        assert raster["time"].shape == (n,)
        np.testing.assert_allclose(raster["time"], (span.start + np.arange(n)) * 0.005)
        np.testing.assert_array_equal(raster["counts"], counts[:n])
        np.testing.assert_allclose(raster["intensity"], expected[:n], rtol=1e-4)
        assert float(raster["bin_s"]) == 0.005
        assert str(raster["session_id"]) == "a"


def test_the_likelihood_adds_up_however_a_span_is_cut(trained: Path) -> None:
    run = load_run(trained)
    recording = run.data.recordings[0]
    span = recording.part("test")[0]

    def of(start: int, stop: int) -> float:
        piece = Span(epoch=span.epoch, start=start, stop=stop)
        return log_likelihood(run.data, recording, lambda batch: run.trained.model(batch)[0], piece)

    whole = of(span.start, span.stop)
    for cut in (1, 7, 100, len(span) - 1):
        assert of(span.start, span.start + cut) + of(span.start + cut, span.stop) == pytest.approx(
            whole, abs=1e-3
        )
    methods = {"model": lambda batch: run.trained.model(batch)[0]}
    for block_s in (0.37, 1.0):
        blocks = score_blocks(run.data, recording, methods, block_s=block_s)
        assert blocks.log_likelihood["model"].sum() == pytest.approx(whole, abs=1e-3)


def test_a_constant_rate_scores_as_a_poisson_process(trained: Path) -> None:
    run = load_run(trained)
    _, counts = intensities(run)
    rate = np.linspace(0.01, 0.2, 6)
    blocks = score_blocks(run.data, run.data.recordings[0], {"constant": constant_rate(rate)})
    found = blocks.log_likelihood["constant"].sum(0)
    np.testing.assert_allclose(found, poisson.logpmf(counts, rate).sum(0), rtol=1e-5)


def test_parts_and_checkpoints_can_be_chosen(trained: Path, tmp_path: Path) -> None:
    test = score(trained, "glm=false", f"out={tmp_path / 'test'}")
    val = score(trained, "glm=false", "part=val", f"out={tmp_path / 'val'}")
    file = score(
        trained, "glm=false", f"checkpoint={trained}/checkpoints/best.ckpt", f"out={tmp_path / 'file'}"
    )
    assert val["part"] == "val"
    assert val["bits_per_spike"] != test["bits_per_spike"]
    assert file["bits_per_spike"] == test["bits_per_spike"]
    assert set(test["bits_per_spike"]) == {"model", NULL, "truth"}
    assert read_json(trained / "metrics.json")["val_bits_per_spike"] == pytest.approx(
        val["bits_per_spike"]["model"], abs=1e-5
    )


def test_the_same_seed_gives_the_same_numbers(trained: Path, tmp_path: Path) -> None:
    twice = [score(trained, "glm=false", f"out={tmp_path / name}") for name in "ab"]
    for metrics in twice:
        metrics.pop("seconds")
    assert twice[0] == twice[1]


def test_a_glm_of_a_replaced_run_is_fitted_again(
    circuit: Callable[..., Path], train: Callable[..., Any], tmp_path: Path
) -> None:
    glm = tmp_path / "baselines/poisson_glm_a.pt"
    quick = ("glm_settings.strengths=[0.1]", "overwrite=true")
    train(tmp_path, circuit(), "optim.steps=2")
    score(tmp_path, *quick)
    first = glm.stat().st_mtime_ns
    score(tmp_path, *quick)
    assert glm.stat().st_mtime_ns == first
    train(tmp_path, circuit(), "optim.steps=2", "data.bin_s=0.01", "overwrite=true")
    score(tmp_path, *quick)
    assert glm.stat().st_mtime_ns > first


def test_results_are_replaced_only_on_request(evaluated: Evaluated) -> None:
    folder, _ = evaluated
    with pytest.raises(UserError, match="overwrite=true"):
        score(folder)
    assert (folder / "evaluate/metrics.json").exists()


def test_a_glm_of_other_events_is_not_read_back(
    evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(evaluated[0])
    recording, config = run.data.recordings[0], GLMConfig(strengths=[0.1])
    fitted: list[PoissonGLM] = []

    def fit(recording: Recording, *, config: GLMConfig) -> PoissonGLM:
        fitted.append(PoissonGLM(n_units=1, n_lags=1, n_history=1, settings=dataclasses.asdict(config)))
        return fitted[-1]

    monkeypatch.setattr("neuroformer.evaluation.run.fit_glm", fit)
    kept = session_glm(run, recording, config)
    assert not fitted
    real = recording.tokens

    def without_one(span: Span) -> Tokens:
        tokens = real(span)
        return Tokens(bins=tokens.bins[1:], units=tokens.units[1:], levels=tokens.levels[1:])

    monkeypatch.setattr(recording, "tokens", without_one)
    monkeypatch.setattr(PoissonGLM, "save", lambda self, path: None)
    assert session_glm(run, recording, config) is fitted[0]
    assert kept.n_units > 1
