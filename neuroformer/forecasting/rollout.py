"""Monte-Carlo rollouts of the event model: expected counts, and traces by way of the indicator.

Every origin's real past is gone on from `samples` times; the forecast is the mean over the samples of each bin's
intensity (given the events drawn before it), which has the same expectation as the counts drawn and far less noise.
Stimulus and behaviour are not given: those of the bins to come are not known at the origin.
"""

from __future__ import annotations

import numpy as np

from neuroformer.data import Span
from neuroformer.evaluation.trained_run import TrainedRun
from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.series import Series
from neuroformer.generation import GenerationOptions, fit_ceiling, generate_spans

_PARALLEL = 256
_CELLS = 2**25  # log-intensities held at once


def rollout_counts(problem: Problem, run: TrainedRun, *, samples: int, seed: int) -> np.ndarray:
    """(O, H, N) expected events per bin.

    Args:
        problem: whose origins.
        run: with the event model; it knows the session.
        samples: rollouts from each origin.
        seed: of what is drawn.
    """
    recording, rows = problem.series.recording, problem.origins
    ceiling, _ = fit_ceiling(run.trained.model, run.data, recording)
    options = GenerationOptions(
        ceilings={recording.session_id: ceiling}, given=(), parallel=_PARALLEL, keep_intensity=True
    )
    places = [
        (recording, Span(epoch=int(e), start=int(t) + 1, stop=int(t) + 1 + problem.horizon))
        for e, t in zip(rows.epoch, rows.at, strict=True)
    ]
    group = max(1, _CELLS // (samples * problem.horizon * problem.series.n_units))
    found = np.empty((len(places), problem.horizon, problem.series.n_units))
    for first in range(0, len(places), group):
        stretches = generate_spans(
            run.trained.model,
            run.trained.vocabulary,
            places[first : first + group],
            n=samples,
            seed=seed,
            options=options,
        )
        for k, stretch in enumerate(stretches):
            total = np.zeros(found.shape[1:])
            for log_intensity in stretch.log_intensity:
                total += np.minimum(np.exp(log_intensity.astype(np.float64)), ceiling)
            found[first + k] = total / samples
    return found


def rollout(problem: Problem, run: TrainedRun, *, samples: int, seed: int, level_s: float) -> Forecast:
    """Forecast of counts, or of traces through the indicator, standardised.

    Args:
        problem: whose origins.
        run: with the event model.
        samples: rollouts from each origin.
        seed: of what is drawn.
        level_s: time constant of the level to which traces decay, seconds.
    """
    expected = rollout_counts(problem, run, samples=samples, seed=seed)
    series = problem.series
    if series.kind == "counts":
        return Forecast((expected - series.mean) / series.scale)
    indicator = Indicator(problem, level_s / series.recording.bin_s)
    return Forecast(indicator(expected))


class Indicator:
    """From expected events to traces: d(t + 1) = φ d(t) + b (a s(t + 1) − c), d the trace's deviation from its level.

    φ, b ≥ 0 and c = E[a s] of each unit come from the training part, a is the unit's mean amplitude there, and the
    level is an exponential average of the trace up to the origin: it drifts, and what the events say is about changes.

    Args:
        problem: of traces.
        level: time constant of the level, bins.
    """

    def __init__(self, problem: Problem, level: float) -> None:
        """Fit to the training part."""
        self.problem = problem
        series = problem.series
        amplitudes = [event_amplitudes(series, epoch) for epoch in range(len(series.values))]
        rows = problem.train[series.reach(problem.train, 1)]
        events = np.stack([amplitudes[e][0][t + 1] for e, t in zip(rows.epoch, rows.at, strict=True)])
        counts = np.stack([amplitudes[e][1][t + 1] for e, t in zip(rows.epoch, rows.at, strict=True)])
        self.amplitude = events.sum(0) / np.maximum(counts.sum(0), 1)
        self.usual = events.mean(0)
        self.level = level
        base = series.averages(rows, [level])[..., 0]
        d, after = series.last(rows) - base, series.targets(rows, 1) - base
        s = events - self.usual
        gram = np.stack(
            [np.stack([(d * d).sum(0), (d * s).sum(0)], 1), np.stack([(d * s).sum(0), (s * s).sum(0)], 1)], 1
        )
        gram += 1e-6 * np.eye(2)
        weights = np.linalg.solve(gram, np.stack([(d * after).sum(0), (s * after).sum(0)], 1)[..., None])[
            ..., 0
        ]
        negative = weights[:, 1] < 0
        weights[negative] = np.stack([(d * after).sum(0) / gram[:, 0, 0], np.zeros(len(gram))], 1)[negative]
        self.decay, self.gain = np.clip(weights[:, 0], 0, 1), weights[:, 1]

    def __call__(self, expected: np.ndarray) -> np.ndarray:
        """(O, H, N) standardised traces from expected counts."""
        series, rows = self.problem.series, self.problem.origins
        base = series.averages(rows, [self.level])[..., 0]
        d = series.last(rows) - base
        found = np.empty(expected.shape)
        for h in range(expected.shape[1]):
            d = self.decay * d + self.gain * (expected[:, h] * self.amplitude - self.usual)
            found[:, h] = base + d
        return found


def event_amplitudes(series: Series, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, N) sum of the amplitudes of a unit's events in each bin of an epoch (1 each without), and their number."""
    recording, epoch = series.recording, series.recording.epochs[number]
    events = recording.events(Span(epoch=number, start=0, stop=epoch.n_bins))
    bins = epoch.bin_of(events.times)
    amplitudes = np.ones(len(bins)) if events.amplitudes is None else events.amplitudes
    sums, counts = np.zeros((epoch.n_bins, series.n_units)), np.zeros((epoch.n_bins, series.n_units))
    np.add.at(sums, (bins, events.units), amplitudes)
    np.add.at(counts, (bins, events.units), 1)
    return sums, counts
