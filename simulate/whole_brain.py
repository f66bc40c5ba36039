"""A whole brain in calcium frames, a few neurons of which move the tail: no circuit, but a known answer to who drives.

In frame t, with rate f and indicator decay τ, so that a = exp(-1 / (f τ)):

    command     m(t)    white, variance 1
    drive       u_j(t)  of driver j: √c · m(t) + √(1 - c) · own(t), both white, variance 1
    tail        y(t) = amplitude · (√(1 - n²) · Σ_j w_j u_j(t) / sd + n · noise(t))
    factors     z_k(t)  first-order autoregressive, correlation time `factor_s`, variance 1
    own input   e_i(t)  of neurons that do not drive: white
    calcium     c_i(t) = a c_i(t - 1) + √(1 - a²) input_i(t)
    ΔF/F        g_i · (√(1 - s²) · c_i(t) + s · Σ_k v_ik z_k(t)) + noise, g_i log-normal

with c `coherence`, n `tail_noise`, s `shared`, w_j = ± log-normal, v_i a random direction. The tail follows from the
drivers' input, of which calcium is a low-passed, noisy picture. Drivers share no factor with the tail unless they share
the command, and the factors are independent of the command and of the tail. With `followers` > 0 so many of the other
neurons have the command m(t) in their input (a part `coherence` of its variance): they go with the tail without
driving it, and nothing but the drivers' own parts tells them apart. With `coherence=0` followers are refused.

Positions are drawn in an ellipsoid of the size of a larval brain (0.8 × 0.4 × 0.25 mm), drivers within a part of it at
the back (70 % of them; the rest lie anywhere), regions are thirds along the longest axis.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from neuroformer.session import Events, SessionData, TimeSeries
from simulate.streams import WHOLE_BRAIN, stream
from simulate.whole_brain_config import WholeBrainConfig

REGIONS = ("forebrain", "midbrain", "hindbrain")
_HALF_AXES_UM = np.array([400.0, 200.0, 125.0])
_GAIN_SIGMA = 0.3
_AT_ONCE = 512  # neurons


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeBrain:
    """What was simulated.

    Attributes:
        traces: (T, N) float32 ΔF/F.
        tail: (T,) degrees.
        weights: (N,) of each neuron's input in the tail, 0 of those that do not drive it.
        follows: (N,) bool: has the command in its input and does not drive.
        position: (N, 3) µm.
        region: (N,) number of the region.
    """

    traces: np.ndarray
    tail: np.ndarray
    weights: np.ndarray
    follows: np.ndarray
    position: np.ndarray
    region: np.ndarray


def simulate_whole_brain(config: WholeBrainConfig, *, neurons: int, seed: int) -> WholeBrain:
    """Draw a brain and its recording.

    Args:
        config: its settings.
        neurons: N.
        seed: of everything.
    """
    rng = stream(seed, WHOLE_BRAIN)
    t, n, d = config.frames, neurons, config.drivers
    position = _places(n, rng)
    drivers = _drivers(position, d, rng)
    others = np.setdiff1d(np.arange(n), drivers)
    follows = np.zeros(n, bool)
    follows[rng.choice(others, config.followers, replace=False)] = True
    weights = np.zeros(n)
    weights[drivers] = rng.choice([-1.0, 1.0], d) * np.exp(config.weight_sigma * rng.standard_normal(d))

    command = rng.standard_normal(t)
    # Drivers that pull the tail the other way have the command with the other sign.
    side = np.where(weights < 0, -1.0, 1.0)
    share, own = np.sqrt(config.coherence), np.sqrt(1 - config.coherence)
    drive = share * np.outer(command, side[drivers]) + own * rng.standard_normal((t, d))
    pull = drive @ weights[drivers]
    quiet = np.sqrt(1 - config.tail_noise**2)
    tail = config.tail_deg * (quiet * pull / pull.std() + config.tail_noise * rng.standard_normal(t))

    keep = np.exp(-1 / (config.frame_rate_hz * config.factor_s))
    factors = lfilter(
        [np.sqrt(1 - keep**2)], [1.0, -keep], rng.standard_normal((t + 200, config.factors)), axis=0
    )[200:]
    loading = rng.standard_normal((config.factors, n))
    loading /= np.maximum(np.linalg.norm(loading, axis=0), 1e-12)
    gain = config.amplitude * np.exp(_GAIN_SIGMA * rng.standard_normal(n))
    decay = np.exp(-1 / (config.frame_rate_hz * config.decay_s))
    at = np.full(n, -1)
    at[drivers] = np.arange(d)
    traces = np.empty((t, n), np.float32)
    for first in range(0, n, _AT_ONCE):
        ids = np.arange(first, min(n, first + _AT_ONCE))
        given = rng.standard_normal((t, len(ids)))
        given[:, follows[ids]] = share * command[:, None] + own * given[:, follows[ids]]
        mine = at[ids] >= 0
        given[:, mine] = drive[:, at[ids[mine]]]
        calcium = lfilter([np.sqrt(1 - decay**2)], [1.0, -decay], given, axis=0)
        bright = np.sqrt(1 - config.shared**2) * calcium + config.shared * factors @ loading[:, ids]
        traces[:, ids] = gain[ids] * bright + config.noise * rng.standard_normal((t, len(ids)))
    along = (position[:, 0] + _HALF_AXES_UM[0]) / (2 * _HALF_AXES_UM[0])
    return WholeBrain(
        traces=traces, tail=tail, weights=weights, follows=follows, position=position,
        region=np.minimum((3 * along).astype(int), 2),
    )  # fmt: skip


def to_session(
    brain: WholeBrain, config: WholeBrainConfig, *, session_id: str, subject_id: str
) -> SessionData:
    """The recording as a session; who drives is in the unit table: `drives_tail`, `tail_weight`, `follows_tail`.

    Events are the rises of ΔF/F from one frame to the next by more than three standard deviations of a unit's rises.
    """
    t, n = brain.traces.shape
    rate = config.frame_rate_hz
    times = (np.arange(t) + 0.5) / rate
    rises = np.diff(brain.traces, axis=0)
    frame, unit = np.nonzero(rises > 3 * rises.std(0))
    return SessionData(
        session_id=session_id,
        subject_id=subject_id,
        species="Danio rerio",
        description=f"Simulated whole brain: {n} neurons, {config.drivers} of which move the tail",
        source="simulate",
        start=0.0,
        stop=t / rate,
        n_units=n,
        events=Events(
            times=times[frame + 1],
            units=unit.astype(np.int32),
            amplitudes=rises[frame, unit].astype(np.float32),
        ),
        units={
            "position": brain.position,
            "region": np.array(REGIONS)[brain.region],
            "drives_tail": (brain.weights != 0).astype(np.int64),
            "tail_weight": brain.weights,
            "follows_tail": brain.follows.astype(np.int64),
        },
        traces=TimeSeries(timestamps=times, values=brain.traces, kind="continuous", unit="dF/F"),
        behavior={
            "tail_angle": TimeSeries(
                timestamps=times, values=brain.tail.astype(np.float32), kind="continuous", unit="deg"
            )
        },
    )


def _places(n: int, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) uniform in the ellipsoid, the back at positive x."""
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * rng.random((n, 1)) ** (1 / 3) * _HALF_AXES_UM


def _drivers(position: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the drivers: 70 % among the tenth of the neurons that lies furthest back."""
    back = np.argsort(-position[:, 0])[: max(count, len(position) // 10)]
    first = rng.choice(back, round(0.7 * count), replace=False)
    rest = rng.choice(np.setdiff1d(np.arange(len(position)), first), count - len(first), replace=False)
    return np.sort(np.concatenate([first, rest]))
