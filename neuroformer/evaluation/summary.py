"""From block scores to bits per spike with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from neuroformer.data import Recording
from neuroformer.evaluation.blocks import BlockScores
from neuroformer.metrics import bits_per_spike, bootstrap_ratio

NULL = "homogeneous_poisson"
TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class SessionScores:
    """Held-out scores of one session.

    Attributes:
        session_id: name of the session.
        bits: per method, (M, N) log-likelihood above the null in bits.
        truth_bits: (M, N) the same for the true intensities; NaN in blocks that are not whole; None for a real
            recording.
        events: (M, N).
        seconds: scored time.
    """

    session_id: str
    bits: dict[str, np.ndarray]
    truth_bits: np.ndarray | None
    events: np.ndarray
    seconds: float


def session_scores(recording: Recording, blocks: BlockScores, train_rate_hz: np.ndarray) -> SessionScores:
    """Bits above the homogeneous Poisson process.

    The truth is a probability of the counts on the simulator's own time step; its null is the homogeneous
    process on that
    same step, so that the two are comparable whatever the width of a token's bin.

    Args:
        recording: the session.
        blocks: its block scores, the null among the methods.
        train_rate_hz: (N,) training rates.
    """
    null = blocks.log_likelihood[NULL]
    bits = {name: (value - null) / math.log(2) for name, value in blocks.log_likelihood.items()}
    truth_bits = None
    truth = recording.session.truth
    if truth is not None and blocks.truth is not None:
        step_null = np.full(null.shape, np.nan)
        for m, start in enumerate(blocks.start):
            if np.isnan(blocks.truth[m]).any():
                continue
            expected = train_rate_hz * truth.dt
            events = recording.session.events(start - 1e-9, start + truth.block_s - 1e-9)
            step = np.floor((events.times - start) / truth.dt + 1e-6).astype(np.int64)
            cell, count = np.unique(step * len(expected) + events.units, return_counts=True)
            k = np.bincount(events.units, minlength=len(expected))
            repeats = np.bincount(cell % len(expected), weights=gammaln(count + 1), minlength=len(expected))
            step_null[m] = k * np.log(expected) - truth.block_s * train_rate_hz - repeats
        truth_bits = (blocks.truth - step_null) / math.log(2)
    return SessionScores(
        session_id=recording.session_id,
        bits=bits,
        truth_bits=truth_bits,
        events=blocks.events,
        seconds=float(blocks.seconds.sum()),
    )


def summarize(sessions: Sequence[SessionScores], *, group: int, rng: np.random.Generator) -> dict[str, Any]:
    """Pooled bits per spike, intervals by a bootstrap over blocks of time, and differences between methods.

    Args:
        sessions: one or several; blocks of all are pooled, events weigh equally.
        group: neighbouring blocks drawn together in the bootstrap.
        rng: source of the draws.

    Returns:
        `bits_per_spike` {method: value}, `intervals` {`bits_per_spike`: {method: [low, high]}}, `difference`
        {`model_minus_OTHER`:
        {value, interval}}, `bits_per_spike_unit_mean` {method: mean over units of each unit's own bits per spike},
        `fraction_of_truth` where there is a truth, `n_events`, `test_seconds`.
    """
    methods = list(sessions[0].bits)
    events = np.concatenate([_grouped(s.events.sum(1), group) for s in sessions])
    total = {
        name: np.concatenate([_grouped(s.bits[name].sum(1), group) for s in sessions]) for name in methods
    }
    value = {name: float(total[name].sum() / events.sum()) for name in methods}
    interval = {name: list(bootstrap_ratio(total[name], events, rng)) for name in methods}
    interval[NULL] = [0.0, 0.0]
    summary: dict[str, Any] = {
        "bits_per_spike": value,
        "intervals": {"bits_per_spike": interval},
        "difference": {},
    }
    for other in methods:
        if other != "model" and "model" in methods:
            above = total["model"] - total[other]
            summary["difference"][f"model_minus_{other}"] = {
                "value": value["model"] - value[other],
                "interval": list(bootstrap_ratio(above, events, rng)),
            }
    if all(s.truth_bits is not None for s in sessions):
        summary |= _with_truth(sessions, group, rng, summary)
    summary["bits_per_spike_unit_mean"] = {
        name: float(np.mean(np.concatenate([unit_bits(s, name)[s.events.sum(0) > 0] for s in sessions])))
        for name in methods
    }
    summary["n_events"] = int(events.sum())
    summary["test_seconds"] = float(sum(s.seconds for s in sessions))
    return summary


def _with_truth(
    sessions: Sequence[SessionScores], group: int, rng: np.random.Generator, summary: dict[str, Any]
) -> dict[str, Any]:
    bits, model, events = [], [], []
    for s in sessions:
        assert s.truth_bits is not None
        whole = ~np.isnan(s.truth_bits).any(1)
        bits.append(_grouped(s.truth_bits[whole].sum(1), group))
        events.append(_grouped(s.events[whole].sum(1), group))
        model.append(
            _grouped(s.bits["model"][whole].sum(1), group) if "model" in s.bits else bits[-1] * np.nan
        )
    truth, above, n = np.concatenate(bits), np.concatenate(model), np.concatenate(events)
    value, interval = dict(summary["bits_per_spike"]), dict(summary["intervals"]["bits_per_spike"])
    value[TRUTH] = float(truth.sum() / n.sum())
    interval[TRUTH] = list(bootstrap_ratio(truth, n, rng))
    return {
        "bits_per_spike": value,
        "intervals": {"bits_per_spike": interval},
        # Of the same blocks, so that a span that is not a whole number of blocks does not tilt the ratio.
        "fraction_of_truth": {
            "value": float(above.sum() / truth.sum()),
            "interval": list(bootstrap_ratio(above, truth, rng)),
        },
    }


def unit_bits(session: SessionScores, method: str) -> np.ndarray:
    """(N,) bits per spike of each unit; NaN for a unit without events."""
    bits, events = session.bits[method].sum(0), session.events.sum(0)
    return np.array([bits_per_spike(b * math.log(2), 0.0, n) for b, n in zip(bits, events, strict=True)])


def _grouped(values: np.ndarray, group: int) -> np.ndarray:
    """Sums of runs of `group` neighbours; what is left over joins the last run."""
    n = max(1, len(values) // group)
    runs = np.minimum(np.arange(len(values)) // group, n - 1)
    return np.bincount(runs, weights=values, minlength=n)
