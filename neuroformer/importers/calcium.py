"""Calcium traces to events with amplitudes.

The calcium signal of a unit is taken to jump at each event and to decay exponentially in between (an AR(1)
process), seen through noise on a baseline: y_t = b + c_t + noise, c_t = g c_{t-1} + s_t with
g = exp(-step / decay). OASIS (Friedrich, Zhou & Paninski 2017, PLoS Comput Biol 13:e1005423) finds the jumps
s_t, each either 0 or at least a threshold. An event is such a jump: its time is the frame in which it
appears, its amplitude the jump in units of the trace. It is an upward step that noise does not explain, not a
spike.
"""

import math
from typing import Any

import numpy as np
import scipy.signal

from neuroformer.errors import UserError
from neuroformer.importers.clocks import Ticks
from neuroformer.importers.mapping import Deconvolution
from neuroformer.session import Events

BASELINE_PERCENTILE = 20.0
BASELINE_ROUNDS = 5
DECAY_LAGS = 5
SHORTEST = 4  # frames; what is shorter says nothing about jumps


def deconvolve(values: np.ndarray, ticks: Ticks, options: Deconvolution, notes: list[str]) -> Events:
    """Events of calcium traces.

    Args:
        values: (T, N) traces, NaN where nothing was measured. No event is found there, nor in the first frame
            after it or of the recording or after a gap, where the jump cannot be told from calcium that was
            there before.
        ticks: When the frames were taken. Stretches between gaps are taken each alone.
        options: Decay, threshold and baseline.
        notes: Takes the decay when it was estimated, and the number of units that are flat or were never
            measured.

    Returns:
        Events in the middle of their frames, sorted by time, then unit; amplitudes in units of the trace,
        float32.

    Raises:
        UserError: oasis-deconv is not installed, or no decay is given and none can be seen in the traces.
    """
    oasis = _oasis()
    times, step = ticks.times, ticks.step
    values = np.asarray(values, dtype=np.float64)
    decay = options.decay
    if decay is None:
        decay = estimate_decay(values, step)
        notes.append(f"calcium decay: estimated as {decay:.2g} s (frames of {step:.3g} s)")
    g = math.exp(-step / decay)
    cuts = np.searchsorted(times, ticks.stretches())  # (K, 2) rows
    jumps = np.zeros_like(values)
    silent = 0
    for j, trace in enumerate(values.T):
        seen = np.isfinite(trace)
        noise = noise_level(trace[seen]) if np.count_nonzero(seen) >= SHORTEST else 0.0
        if noise == 0.0:
            silent += 1
            continue
        filled = np.interp(times, times[seen], trace[seen])
        if options.baseline_window is not None:
            filled -= _drift(filled, times, options.baseline_window)
        baseline = float(np.percentile(filled[seen], BASELINE_PERCENTILE))
        for _ in range(BASELINE_ROUNDS):
            left = []
            for first, last in cuts:
                if last - first < SHORTEST:
                    continue
                part = np.ascontiguousarray(filled[first:last] - baseline)
                calcium, jumps[first:last, j] = oasis.oasisAR1(part, g, s_min=options.threshold * noise)
                left.append(part - calcium)
            if left:
                baseline += float(np.concatenate(left).mean())
        jumps[~(seen & np.r_[False, seen[:-1]]), j] = 0.0
    jumps[cuts[:, 0]] = 0.0
    if silent:
        notes.append(f"traces: {silent} units are flat or never measured, without events")
    row, unit = np.nonzero(jumps > 0)
    return Events(
        times=ticks.middles[row], units=unit.astype(np.int32), amplitudes=jumps[row, unit].astype(np.float32)
    )


def _oasis() -> Any:
    try:
        from oasis import oasis_methods
    except ImportError as error:
        raise UserError(
            "events from calcium traces need the package oasis-deconv; install it with "
            "pip install 'neuroformer[calcium]'"
        ) from error
    return oasis_methods


def noise_level(trace: np.ndarray) -> float:
    """Standard deviation of the white noise of `trace` (T,), from the upper half of its power spectrum.

    A calcium signal is slow and hardly reaches these frequencies (Pnevmatikakis et al. 2016, Neuron 89:285,
    methods).
    """
    frequency, power = scipy.signal.welch(trace, nperseg=min(256, len(trace)))
    upper = (frequency > 0.25) & (frequency < 0.5)
    return float(np.sqrt(power[upper].mean() / 2)) if upper.any() else 0.0


def estimate_decay(values: np.ndarray, step: float) -> float:
    """Decay time of the calcium signal, seconds: that of the traces' autocovariance, median over the units.

    White noise touches the autocovariance r at lag 0 only; beyond, r_{k+1} = g r_k for an AR(1) process, so
    that g = Σ_k r_k r_{k+1} / Σ_k r_k² over lags 1 … 5. Units whose activity is slow seem to decay slowly.

    Args:
        values: (T, N) traces, NaN where missing.
        step: time between frames, seconds.
    """
    measured = values[:, np.isfinite(values).any(axis=0)]
    centred = np.nan_to_num(measured - np.nanmean(measured, axis=0))
    n_lags = min(DECAY_LAGS + 1, len(values) - 1)
    r = np.stack(
        [(centred[lag:] * centred[: len(centred) - lag]).mean(axis=0) for lag in range(1, n_lags + 1)]
    )
    power = (r[:-1] ** 2).sum(axis=0)
    g = (r[:-1] * r[1:]).sum(axis=0)[power > 0] / power[power > 0]
    middle = float(np.median(g)) if g.size else 0.0
    if not 0.0 < middle < 1.0:
        raise UserError(
            "traces: no decay can be seen in them; give deconvolution.decay in seconds (0.7 for GCaMP6f)"
        )
    return -step / math.log(middle)


def _drift(trace: np.ndarray, times: np.ndarray, window: float) -> np.ndarray:
    """Slowly moving baseline (T,): percentile in half-overlapping windows, with straight lines between."""
    window = max(window, 2 * SHORTEST * float(np.median(np.diff(times))))
    centres = np.arange(times[0], times[-1] + window / 2, window / 2)
    first = np.searchsorted(times, centres - window / 2)
    last = np.searchsorted(times, centres + window / 2)
    kept = last - first >= SHORTEST
    low = [
        np.percentile(trace[a:b], BASELINE_PERCENTILE) for a, b in zip(first[kept], last[kept], strict=True)
    ]
    return np.interp(times, centres[kept], low)
