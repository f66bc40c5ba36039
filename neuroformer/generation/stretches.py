"""Generate stretches of a recording: from its real past, with its real stimulus and behaviour, as arrays of events.

Nothing is written here; calibration and forecasts ask for events in this way as the command does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock

import numpy as np

from neuroformer.batch import Batch
from neuroformer.data import Chunk, Part, Recording, Span, Tokens, Vocabulary
from neuroformer.data.collate import collate
from neuroformer.errors import UserError
from neuroformer.generation.draws import stream_seed
from neuroformer.generation.sampler import Forced, Sampled, Sampler, Sampling, hide_variables
from neuroformer.generation.threads import n_threads, side_by_side
from neuroformer.model import Neuroformer

_BLOCK_BINS = 512  # stimulus and behaviour are read for as many bins at once

_Stream = tuple[Tokens, np.ndarray, int, np.ndarray | None]  # the fields of `Stretch` for one stream

Progress = Callable[[int, int], None]
"""Told now and then: bins of all streams, and events, since it was told last."""


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """Events that are put in, in every stream.

    Attributes:
        unit: which unit of the session.
        seconds: after the start of each stretch, one event; or
        rate_hz: events per second all the time, at random (Poisson).
    """

    unit: int
    seconds: float | None = None
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        """One of both."""
        assert (self.seconds is None) != (self.rate_hz is None)


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """What is given and what is changed.

    Attributes:
        sampling: how events are drawn.
        ceilings: by session, expected events of a unit in a bin above which an intensity does not rise (see
            `fit_ceiling`); none for the exact model.
        given: variables that the model sees; None: all that it takes as input.
        prefix_bins: bins of real activity before each stretch; None: as far as the model looks back. 0: silence.
        silenced: units that may not fire.
        stimuli: events that are put in.
        parallel: streams at once; of a large model on a CPU they are shared out to PyTorch's threads.
        keep_intensity: whether the log-intensities are returned.
    """

    sampling: Sampling = field(default_factory=Sampling)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    given: Sequence[str] | None = None
    prefix_bins: int | None = None
    silenced: Sequence[int] = ()
    stimuli: Sequence[Stimulus] = ()
    parallel: int = 32
    keep_intensity: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """What was generated for one stretch of a recording.

    Attributes:
        session_id: of the recording.
        span: bins of the recording that it stands for.
        start: left edge of its first bin, seconds on the recording's clock.
        streams: events of each stream, bins counted from the stretch's start.
        forced: of each stream, (E,) bool: whether an event was put in.
        n_lowered: of each stream, cells (bin, unit) in which the model expected more events than the ceiling.
        log_intensity: of each stream, (T, N) float32, or empty unless asked for.
    """

    session_id: str
    span: Span
    start: float
    streams: tuple[Tokens, ...]
    forced: tuple[np.ndarray, ...]
    n_lowered: tuple[int, ...]
    log_intensity: tuple[np.ndarray, ...] = ()


def generate_part(
    model: Neuroformer,
    vocabulary: Vocabulary,
    recording: Recording,
    part: Part = "test",
    *,
    n: int = 1,
    seed: int = 0,
    options: GenerationOptions | None = None,
    progress: Progress | None = None,
) -> list[Stretch]:
    """Generate every stretch of a part of a recording `n` times; see `generate_spans`.

    Example: `[s.streams[0].bins for s in generate_part(model, vocabulary, recording, "test")]`
    """
    places = [(recording, span) for span in recording.part(part)]
    return generate_spans(model, vocabulary, places, n=n, seed=seed, options=options, progress=progress)


def generate_spans(
    model: Neuroformer,
    vocabulary: Vocabulary,
    places: Sequence[tuple[Recording, Span]],
    *,
    n: int = 1,
    seed: int = 0,
    options: GenerationOptions | None = None,
    progress: Progress | None = None,
) -> list[Stretch]:
    """Generate spans of recordings, each from the real events before it.

    A stream's random numbers belong to (seed, session, span, number of the stream): it comes out the same, to
    rounding of the intensities, whatever is generated beside it and however many streams run at once.

    Args:
        model: in evaluation mode.
        vocabulary: of the model; it knows the recordings.
        places: recordings and spans; silenced units and stimuli are meant in each.
        n: streams of each.
        seed: of all random numbers.
        options: what is given and changed.
        progress: told of bins and events that are done.

    Returns:
        A stretch for each place, in the same order.

    Raises:
        UserError: a span reaches beyond its recording while stimulus or behaviour is given; the activity runs away.
    """
    options = options or GenerationOptions()
    given = _given(model, options.given)
    for recording, span in places:
        epoch = recording.epochs[span.epoch]
        if given and span.stop > epoch.n_bins and set(given) & set(recording.variables):
            raise UserError(
                f"{recording.session.path}: stimulus and behaviour ({', '.join(given)}) end at "
                f"{epoch.time_of(epoch.n_bins):g} s, generation at {epoch.time_of(span.stop):g} s; lower duration_s, "
                "or give the model none of them (condition=[])"
            )
    # Streams of like length go together, so that few end before the others.
    order = sorted(range(len(places)), key=lambda k: -len(places[k][1]))
    jobs = [(k, trial) for k in order for trial in range(n)]
    threads = n_threads(model)
    size = math.ceil(min(options.parallel, len(jobs)) / threads) or 1
    groups = [jobs[first : first + size] for first in range(0, len(jobs), size)]
    report = None if progress is None else _locked(progress)
    found = side_by_side(
        [
            partial(_generate, model, vocabulary, places, group, seed, options, given, report)
            for group in groups
        ],
        threads,
    )
    streams = {
        job: stream
        for group, of in zip(groups, found, strict=True)
        for job, stream in zip(group, of, strict=True)
    }
    return [
        Stretch(
            session_id=recording.session_id,
            span=span,
            start=float(recording.epochs[span.epoch].time_of(span.start)),
            streams=tuple(streams[k, trial][0] for trial in range(n)),
            forced=tuple(streams[k, trial][1] for trial in range(n)),
            n_lowered=tuple(streams[k, trial][2] for trial in range(n)),
            log_intensity=tuple(
                intensity for trial in range(n) if (intensity := streams[k, trial][3]) is not None
            ),
        )
        for k, (recording, span) in enumerate(places)
    ]


def _locked(progress: Progress) -> Progress:
    """`progress`, told by one thread at a time."""
    lock = Lock()

    def report(bins: int, events: int) -> None:
        with lock:
            progress(bins, events)

    return report


def _given(model: Neuroformer, names: Sequence[str] | None) -> list[str]:
    inputs = [name for name, shape in model.variables.items() if shape.is_input]
    if names is None:
        return inputs
    for name in names:
        if name not in inputs:
            raise UserError(
                f"condition: {name!r} is no input of this model; it has {', '.join(inputs) or 'none'}, [] gives it none"
            )
    return list(names)


def _generate(
    model: Neuroformer,
    vocabulary: Vocabulary,
    places: Sequence[tuple[Recording, Span]],
    group: Sequence[tuple[int, int]],
    seed: int,
    options: GenerationOptions,
    given: Sequence[str],
    progress: Progress | None,
) -> list[_Stream]:
    """Events of the streams (place, number) of a group, which are drawn together."""
    prefix = model.context if options.prefix_bins is None else options.prefix_bins
    horizon = max((model.variables[name].horizon for name in given), default=0)
    history = max(prefix, horizon)
    device = model.bias.device

    def batch_at(bin_: int, alive: Sequence[int]) -> Batch:
        chunks = []
        for k in alive:
            recording, span = places[k]
            start = span.start + bin_
            block = Span(epoch=span.epoch, start=start, stop=min(start + _BLOCK_BINS, span.stop))
            chunks.append(_chunk(recording, block, history, vocabulary, with_variables=bool(given)))
        return hide_variables(collate(chunks, vocabulary), given).to(device)

    seeds = []
    for k, number in group:
        recording, span = places[k]
        seeds.append(stream_seed(seed, recording.session_id, span.epoch, span.start, number))
    alive = list(dict.fromkeys(k for k, _ in group))
    batch = batch_at(0, alive)
    batch = replace(batch, event_mask=batch.event_mask & (batch.event_bin >= history - prefix))
    sampler = Sampler(
        model,
        batch,
        row=[alive.index(k) for k, _ in group],
        seeds=seeds,
        sampling=options.sampling,
        silenced=_silenced(batch, options.silenced),
        ceiling=[options.ceilings.get(places[k][0].session_id, math.inf) for k in alive]
        if options.ceilings
        else None,
        usual=[float(vocabulary[places[k][0].session_id].train_rate.sum()) for k in alive],
    )
    forced = _forced(places, group, seeds, options.stimuli, vocabulary)
    parts, bin_ = [], 0
    while True:
        done = sampler.advance(batch, forced=forced, keep_intensity=options.keep_intensity)
        parts.append((sampler.streams, done))
        if progress is not None:
            lengths = [min(len(places[group[s][0]][1]) - bin_, _BLOCK_BINS) for s in sampler.streams.tolist()]
            progress(sum(lengths), len(done))
        bin_ += _BLOCK_BINS
        left = [s for s in sampler.streams.tolist() if len(places[group[s][0]][1]) > bin_]
        if not left:
            break
        alive = list(dict.fromkeys(group[s][0] for s in left))
        batch = batch_at(bin_, alive)
        sampler.keep(left, [alive.index(group[s][0]) for s in left])
    return [
        _of_stream(parts, s, places[k][0].session.n_units, len(places[k][1]), int(sampler.n_lowered[s]))
        for s, (k, _) in enumerate(group)
    ]


def _chunk(
    recording: Recording, span: Span, history: int, vocabulary: Vocabulary, *, with_variables: bool
) -> Chunk:
    """The span with its history; without variables it may lie beyond the recording's end."""
    edges = vocabulary[recording.session_id].level_edges
    if with_variables:
        return recording.chunk(span, history, edges)
    first = max(0, span.start - history)
    tokens = recording.tokens(Span(epoch=span.epoch, start=first, stop=span.stop), edges)
    return Chunk(
        session_id=recording.session_id,
        tokens=replace(tokens, bins=tokens.bins - (span.start - history)),
        history=history,
        n_scored=len(span),
        time=float(recording.epochs[span.epoch].time_of(span.start)),
    )


def _silenced(batch: Batch, units: Sequence[int]) -> np.ndarray | None:
    if not len(units):
        return None
    mask = np.zeros(batch.unit_mask.shape, bool)
    mask[:, list(units)] = True
    return mask


def _forced(
    places: Sequence[tuple[Recording, Span]],
    group: Sequence[tuple[int, int]],
    seeds: Sequence[int],
    stimuli: Sequence[Stimulus],
    vocabulary: Vocabulary,
) -> Forced | None:
    """The events to put into each stream; they are of the middle amplitude level."""
    if not stimuli:
        return None
    rows: list[np.ndarray] = []
    for stream, (k, _) in enumerate(group):
        recording, span = places[k]
        rng = np.random.default_rng([seeds[stream], 1])
        level = vocabulary[recording.session_id].n_levels // 2
        for stimulus in stimuli:
            if stimulus.rate_hz is not None:
                counts = rng.poisson(stimulus.rate_hz * recording.bin_s, len(span))
                bins = np.repeat(np.arange(len(span)), counts)
            else:
                assert stimulus.seconds is not None
                bins = np.array([int(np.floor(stimulus.seconds / recording.bin_s + 1e-6))])
            fixed = np.broadcast_to([stream, stimulus.unit, level], (len(bins), 3))
            rows.append(np.column_stack([bins, fixed]))
    table = np.concatenate(rows).astype(np.int64)
    return Forced(bin=table[:, 0], stream=table[:, 1], unit=table[:, 2], level=table[:, 3])


def _of_stream(
    parts: Sequence[tuple[np.ndarray, Sampled]], stream: int, n_units: int, n_bins: int, n_lowered: int
) -> _Stream:
    """One stream's part of what was drawn; log-intensities (T, N) if they were kept."""
    columns: list[tuple[np.ndarray, ...]] = []
    intensity = []
    for streams, part in parts:
        mine = part.stream == stream
        columns.append((part.bin[mine], part.unit[mine], part.level[mine], part.forced[mine]))
        place = np.flatnonzero(streams == stream)
        if part.log_intensity is not None and len(place):
            intensity.append(part.log_intensity[place[0], :, :n_units])
    bins, units, levels, forced = (np.concatenate(column) for column in zip(*columns, strict=True))
    # A stretch that ends before others of its block was silent from there on, but for events put in.
    inside = bins < n_bins
    tokens = Tokens(
        bins=bins[inside], units=units[inside].astype(np.int32), levels=levels[inside].astype(np.int16)
    )
    return tokens, forced[inside], n_lowered, np.concatenate(intensity)[:n_bins] if intensity else None
