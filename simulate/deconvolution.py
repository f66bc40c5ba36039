"""Calcium events from traces: upward jumps that noise does not explain, as the importer of recordings finds them.

The trace is taken as a baseline, noise, and calcium that jumps at events and decays exponentially (an AR(1)
process); OASIS (Friedrich, Zhou & Paninski 2017, PLoS Comput. Biol. 13:e1005423) finds the jumps, each 0 or at
least a threshold. The steps and constants are those of `neuroformer.importers.calcium`, so that a simulated
recording and a real one are treated alike; the rise of the indicator is not in that model, as with real data.
"""

from typing import Any

import numpy as np
import scipy.signal

from neuroformer.errors import UserError
from neuroformer.session import Events
from simulate.calcium_config import CalciumConfig

BASELINE_PERCENTILE = 20.0
BASELINE_ROUNDS = 5
SHORTEST = 4  # frames; what is shorter says nothing about jumps


def deconvolve(times: np.ndarray, traces: np.ndarray, config: CalciumConfig) -> Events:
    """Find the events of every unit.

    Args:
        times: (T,) the middle of each frame (seconds).
        traces: (T, N) ΔF/F.
        config: Frame rate, the indicator's decay, which is taken as known, and the threshold.

    Returns:
        Events in the middle of the frame in which the trace rises, with amplitudes (ΔF/F).

    Raises:
        UserError: oasis-deconv is not installed, or there is no event.
    """
    oasis = _oasis()
    decay = np.exp(-1 / (config.frame_rate_hz * config.decay_s))
    jumps = np.zeros(traces.shape)
    for j, trace in enumerate(traces.T.astype(np.float64)):
        noise = noise_level(trace) if len(trace) >= SHORTEST else 0.0
        if noise == 0.0:
            continue
        baseline = float(np.percentile(trace, BASELINE_PERCENTILE))
        for _ in range(BASELINE_ROUNDS):
            above = np.ascontiguousarray(trace - baseline)
            calcium, jumps[:, j] = oasis.oasisAR1(above, decay, s_min=config.threshold * noise)
            baseline += float((above - calcium).mean())
    jumps[:1] = 0.0  # there a jump cannot be told from calcium that was there before
    row, unit = np.nonzero(jumps > 0)
    if not row.size:
        raise UserError(
            f"no calcium event in {len(traces)} frames of {traces.shape[1]} units; raise duration_s or "
            "calcium.amplitude, or lower calcium.noise or calcium.threshold"
        )
    sizes = jumps[row, unit].astype(np.float32)
    return Events(times=times[row], units=unit.astype(np.int32), amplitudes=sizes)


def noise_level(trace: np.ndarray) -> float:
    """Standard deviation of the white noise of `trace` (T,), from the upper half of its power spectrum.

    Pnevmatikakis et al. 2016, Neuron 89:285, methods.
    """
    frequency, power = scipy.signal.welch(trace, nperseg=min(256, len(trace)))
    upper = (frequency > 0.25) & (frequency < 0.5)
    return float(np.sqrt(power[upper].mean() / 2)) if upper.any() else 0.0


def _oasis() -> Any:
    try:
        from oasis import oasis_methods
    except ImportError as error:
        raise UserError(
            "calcium.events=deconvolved needs the package oasis-deconv; install it with "
            "pip install 'neuroformer[calcium]', or say calcium.events=spikes"
        ) from error
    return oasis_methods
