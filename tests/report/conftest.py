"""Run folders as the other commands leave them, filled with plausible figures."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

N_UNITS = 60
BIN_S = 0.005

FakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def fake_run() -> FakeRun:
    """`fake_run(folder, …)` writes a finished run; see `write_run`."""
    return write_run


@pytest.fixture(scope="session")
def fake_fewshot() -> FakeRun:
    """`fake_fewshot(folder, …)` writes a learning curve; see `write_fewshot`."""
    return write_fewshot


def write_run(
    folder: Path,
    *,
    seed: int = 0,
    bits_per_spike: Mapping[str, float] | None = None,
    noise: Mapping[str, float] | None = None,
    sessions: Sequence[str] = ("circuit-0",),
    has_truth: bool = True,
    n_units: int = N_UNITS,
) -> Path:
    """Write what training, `evaluate` and `connectivity` leave.

    Args:
        folder: Where to.
        seed: Of all figures.
        bits_per_spike: Held-out score by method.
        noise: By estimator, spread of its error relative to the size of a weight.
        sessions: Names of the recordings.
        has_truth: Whether the circuit is simulated, so that truth is known.
        n_units: Units of each recording.
    """
    rng = np.random.default_rng(seed)
    scores = dict(
        bits_per_spike or {"model": 0.486, "poisson_glm": 0.474, "homogeneous_poisson": 0.0, "truth": 0.509}
    )
    if not has_truth:
        scores.pop("truth", None)
    weights = circuit(rng, n_units)
    write_training(folder, rng, best=scores["model"] + 0.004)
    write_evaluation(folder / "evaluate", rng, scores=scores, sessions=sessions, weights=weights)
    write_connectivity(
        folder / "connectivity",
        rng,
        weights=weights,
        noise=noise
        or {"coupling": 0.12, "poisson_glm": 0.2, "cross_correlation": 0.6, "self_attention": 0.9},
        sessions=sessions,
        has_truth=has_truth,
    )
    return folder


def circuit(rng: np.random.Generator, n_units: int) -> np.ndarray:
    """Sparse weights `[source, target]` under Dale's law, with a few hubs."""
    outgoing = rng.lognormal(0, 0.6, n_units)
    chance = np.clip(0.1 * outgoing[:, None] / outgoing.mean(), 0, 0.6)
    sign = np.where(rng.random(n_units) < 0.8, 1.0, -1.4)
    weights = (
        (rng.random((n_units, n_units)) < chance) * rng.lognormal(0, 0.35, (n_units, n_units)) * sign[:, None]
    )
    np.fill_diagonal(weights, 0)
    return 0.6 * weights


def write_training(folder: Path, rng: np.random.Generator, *, best: float) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    write_text(
        folder / "config.yaml",
        "seed: 7\nmodel:\n  width: 64\n  n_layers: 2\ndata: [session.h5]\nlearning_rate: 0.01\n",
    )
    rows = []
    for step in range(0, 1001, 10):
        progress = 1 - np.exp(-step / 130)
        row = {
            "step": step,
            "epoch": step // 100,
            "train_nll": 3.9 - 0.75 * progress + 0.05 * rng.normal(),
            "lr": 0.01,
        }
        row["val_bits_per_spike"] = (
            "" if step % 50 else best * (1.25 * progress - 0.25) - 1e-8 * (step - 800) ** 2
        )
        rows.append(row)
    write_csv(folder / "log.csv", rows)
    write_metrics(
        folder,
        {"command": "neuroformer pretrain", "version": "0.1.0", "device": "cpu", "seconds": 74.2, "parameters": 81_220,
         "steps": 1000, "seed": 7, "val_bits_per_spike": best,
         "sessions": [{"session_id": "circuit-0", "file": "session.h5", "units": N_UNITS, "train_events": 160_113,
                       "train_s": 400.0}]},
    )  # fmt: skip


def write_evaluation(
    folder: Path,
    rng: np.random.Generator,
    *,
    scores: Mapping[str, float],
    sessions: Sequence[str],
    weights: np.ndarray,
) -> None:
    folder.mkdir(parents=True)
    n_units = len(weights)
    intervals = {name: [value - 0.014, value + 0.013] for name, value in scores.items()} | {
        "homogeneous_poisson": [0, 0]
    }
    gain = scores["model"] - scores["poisson_glm"]
    attained = scores["model"] / scores["truth"] if "truth" in scores else None
    write_text(folder / "config.yaml", "seed: 7\ncheckpoint: checkpoints/best.ckpt\n")
    write_metrics(
        folder,
        {
            "command": "neuroformer evaluate",
            "version": "0.1.0",
            "bits_per_spike": scores,
            "intervals": {"bits_per_spike": intervals},
            "difference": {
                "model_minus_poisson_glm": {"value": gain, "interval": [gain - 0.003, gain + 0.003]}
            },
            **(
                {"fraction_of_truth": {"value": attained, "interval": [attained - 0.01, attained + 0.01]}}
                if attained
                else {}
            ),
            "sessions": {name: {"bits_per_spike": scores, "n_events": 20_113} for name in sessions},
            "n_events": 20_113 * len(sessions),
            "test_seconds": 50.0,
            "seconds": 21.4,
        },
    )
    time, counts, intensity = activity(rng, weights, n_bins=2000)
    np.savez_compressed(
        folder / "raster.npz",
        time=400 + time,
        counts=counts,
        intensity=intensity,
        session_id=sessions[0],
        bin_s=BIN_S,
    )
    events = counts.sum(axis=0)
    per_unit = np.clip(rng.normal(scores["model"], 0.14, n_units), 0.02, None)
    write_csv(
        folder / "per_unit.csv",
        [
            {
                "session_id": session,
                "unit": unit,
                "unit_id": f"n{unit}",
                "n_events": int(events[unit]),
                "model": per_unit[unit],
                "poisson_glm": per_unit[unit] - gain + 0.02 * rng.normal(),
            }
            for session in sessions
            for unit in range(n_units)
        ],
    )


def activity(
    rng: np.random.Generator, weights: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) s, (T, N) events and (T, N) expected events of a circuit with an exponential synapse and slow drive."""
    n_units = len(weights)
    base = np.log(BIN_S * rng.lognormal(1.6, 0.7, n_units))
    drive = np.sin(2 * np.pi * np.arange(n_bins) * BIN_S / 2.3)[:, None] * rng.normal(0.3, 0.4, n_units)
    counts, intensity = np.zeros((2, n_bins, n_units))
    trace = np.zeros(n_units)
    for step in range(n_bins):
        intensity[step] = np.exp(np.minimum(base + drive[step] + 0.8 * trace @ weights, np.log(0.4)))
        counts[step] = rng.poisson(intensity[step])
        trace = 0.7 * trace + counts[step]
    return np.arange(n_bins) * BIN_S, counts.astype(np.int16), intensity.astype(np.float32)


def write_connectivity(
    folder: Path,
    rng: np.random.Generator,
    *,
    weights: np.ndarray,
    noise: Mapping[str, float],
    sessions: Sequence[str],
    has_truth: bool,
) -> None:
    folder.mkdir(parents=True)
    scale = np.abs(weights).sum() / max(1, np.count_nonzero(weights))
    metrics: dict = {"command": "neuroformer connectivity", "version": "0.1.0", "seconds": 9.1}
    with h5py.File(folder / "connectivity.h5", "w") as file:
        for session in sessions:
            group = file.create_group(session)
            group["unit_ids"] = np.arange(len(weights))
            for estimator, spread in noise.items():
                estimate = weights + spread * scale * rng.normal(size=weights.shape)
                group[f"{estimator}/matrix"] = estimate
                group[estimator].attrs["description"] = "sum over lags of the log gain that one event has"
            if has_truth:
                group["truth/weights"] = weights
                group["truth/delays"] = 0.002 * (weights != 0)
    if has_truth:
        scores = {
            name: {
                "auroc": 1 - 0.15 * spread,
                "average_precision": 1 - 0.5 * spread**1.6,
                "direction_accuracy": 0.97,
            }
            for name, spread in noise.items()
        }
        metrics |= {"connectivity": scores, "sessions": dict.fromkeys(sessions, scores)}
    write_metrics(folder, metrics)


def write_metrics(folder: Path, metrics: Mapping[str, object]) -> None:
    write_text(folder / "metrics.json", json.dumps(metrics))


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_fewshot(
    folder: Path, *, errors: Mapping[str, Sequence[float]] | None = None, unit: str = "cm", sessions: int = 1
) -> Path:
    """Write the learning curve of a new animal: a continuous variable `place` and a categorical one `side`.

    Args:
        folder: Where to.
        errors: Mean error of `place` by method, at 2, 5 and 25 % of the labels.
        unit: Of `place`.
        sessions: New sessions.
    """
    errors = errors or {"pretrained": [4, 3.5, 3], "scratch": [9, 6, 3.2], "ridge": [12, 8, 2.0]}
    rows = []
    for target, metrics in (("place", ("mean_error", "r2")), ("side", ("accuracy",))):
        for metric in metrics:
            for k, amount in enumerate((0.02, 0.05, 0.25)):
                for method, values in errors.items():
                    error = values[k]
                    lead = errors.get("pretrained", values)[k]
                    mean, ours = (error, lead) if metric == "mean_error" else (1 - error / 20, 1 - lead / 20)
                    gap = ours - mean
                    rows.append(
                        {"target": target, "metric": metric, "amount": amount, "method": method, "sessions": sessions,
                         "label_s": 100 * amount, "mean": mean, "interval": [0.9 * mean, 1.1 * mean],
                         "difference": {"mean": gap, "interval": [gap - 0.01, gap + 0.01]}}
                    )  # fmt: skip
    (folder / "cells").mkdir(parents=True)
    metrics = {"command": "neuroformer fewshot", "version": "0.1.0", "sentence": "place, mean error: who wins.",
               "amounts": "of the labels", "units": {"place": unit, "side": ""}, "rows": rows, "cells": 9}  # fmt: skip
    write_metrics(folder, metrics)
    return folder
