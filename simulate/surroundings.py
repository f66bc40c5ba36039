"""Stimulus, trials and behaviour as an experimenter records them, and the truth about tuning and states."""

import numpy as np

from neuroformer.session import SessionData, TimeSeries
from simulate.activity import Activity
from simulate.behavior import Behavior
from simulate.inputs import Inputs
from simulate.states import States
from simulate.stimulus import Stimulus


def add_surroundings(session: SessionData, inputs: Inputs, seen: Activity) -> None:
    """Put what surrounded a circuit into its session.

    `truth.extra` takes, where there are such things, for the N observed units: `state_starts` (K,) seconds,
    `states` (K,) and `state_loadings` (N,); `receptive_fields` (N, 2, H, W), real and imaginary part, and
    `preferred_direction` (N,) degrees, NaN where there is no response; for each behaviour NAME,
    `NAME_gain` (N,), or `heading_preferred` (N,) degrees, NaN where not tuned.

    Args:
        session: Takes them; it has a truth.
        inputs: What acted on the circuit.
        seen: What the observed units did.
    """
    assert session.truth is not None
    extra, n = session.truth.extra, session.n_units
    if inputs.states:
        extra |= _of_states(inputs.states, n=n, dt=seen.dt)
    if inputs.stimulus:
        fields = inputs.stimulus.fields[:n]
        extra["receptive_fields"] = np.stack([fields.real, fields.imag], axis=1).astype(np.float32)
        extra["preferred_direction"] = inputs.stimulus.preferred[:n]
        session.stimulus |= _stimulus_series(inputs.stimulus)
        session.trials |= _trials(inputs.stimulus)
    if inputs.behavior:
        extra |= _of_behavior(inputs.behavior, n=n)
        session.behavior |= inputs.behavior.record(seen)


def _of_states(states: States, *, n: int, dt: float) -> dict[str, np.ndarray]:
    first, visited = states.runs()
    return {"state_starts": first * dt, "states": visited, "state_loadings": states.loadings[:n]}


def _stimulus_series(stimulus: Stimulus) -> dict[str, TimeSeries]:
    """The frames, and the direction and orientation of what they show."""
    frames, kind = stimulus.frames, stimulus.config.kind
    shown = np.isfinite(frames.direction)
    series = {
        "frames": TimeSeries(timestamps=frames.times, values=frames.values, kind="frames", unit="grey level")
    }
    if kind != "white_noise":
        series["direction"] = TimeSeries(
            timestamps=frames.times, values=frames.direction, kind="continuous", unit="deg", period=360.0
        )
    if kind == "gratings" and shown.any():
        angles, index = np.unique(frames.direction[shown] % 180, return_inverse=True)
        orientation = np.full(len(shown), -1)
        orientation[shown] = index
        series["orientation"] = TimeSeries(
            timestamps=frames.times,
            values=orientation,
            kind="categorical",
            unit="deg",
            labels=tuple(f"{angle:g}" for angle in angles),
        )
    return series


def _trials(stimulus: Stimulus) -> dict[str, np.ndarray]:
    """The whole trials; no column where there are none."""
    frames, config = stimulus.frames, stimulus.config
    if not len(frames.trial_starts):
        return {}
    columns = {
        "start": frames.trial_starts,
        "stop": frames.trial_starts + config.trial_s,
        "direction": frames.trial_directions,
    }
    return columns | ({"orientation": frames.trial_directions % 180} if config.kind == "gratings" else {})


def _of_behavior(behavior: Behavior, *, n: int) -> dict[str, np.ndarray]:
    extra = {}
    for name, tuning in behavior.tunings.items():
        gain, tuned = tuning.gain[:n], tuning.tuned[:n]
        if name == "heading":
            preferred = np.rad2deg(-np.angle(gain)) % 360
            extra["heading_preferred"] = np.where(tuned, preferred, np.nan)
        else:
            extra[f"{name}_gain"] = gain.real
    return extra
