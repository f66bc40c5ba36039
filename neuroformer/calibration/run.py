"""`neuroformer calibrate`: generated beside recorded activity, as tables, arrays and one figure page a session."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroformer.calibration.activity import Activity, Blocks
from neuroformer.calibration.figure import draw_page
from neuroformer.calibration.findings import LEAST_BLOCKS, Findings, block_bins, find, pair_bins
from neuroformer.calibration.psth import Trials
from neuroformer.calibration.rescaling import rescale
from neuroformer.data import Part, Recording, Span
from neuroformer.decoding.arrays import read_trials
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder, atomic_path
from neuroformer.generation.ceiling import fit_ceiling
from neuroformer.generation.stretches import GenerationOptions, generate_spans
from neuroformer.plotting import save_figure
from neuroformer.settings.calibrate import CalibrateConfig

Progress = Callable[[str, float, float], None]
"""Told now and then: the session, seconds generated since it was told last, and seconds in all."""

_PARALLEL = 64  # streams at once
_MOST_STIMULI = 50


def calibrate(
    config: CalibrateConfig, *, command: str = "neuroformer calibrate", progress: Progress | None = None
) -> dict[str, Any]:
    """Generate, compare, and write RUN/calibration.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: a recording is too short for halves, or has no such trials.
    """
    part: Part = "val" if config.part == "val" else "test"
    run = load_run(config.run, checkpoint=config.checkpoint, sessions=config.sessions)
    jobs = []
    for recording in run.data.recordings:
        spans = stretches(recording, part, config)
        _check(recording, spans, config)
        jobs.append((recording, spans, trials_of(recording, spans, config)))
    folder = RunFolder.create(
        Path(config.out) if config.out else run.folder / "calibration",
        overwrite=config.overwrite,
        command=command,
        config=config,
    )
    started = time.monotonic()
    metrics: dict[str, Any] = {"part": config.part, "bin_s": run.data.config.bin_s, "sessions": {}}
    for recording, spans, trials in jobs:
        found, ceiling_hz = calibrate_recording(run, recording, spans, trials, config, progress)
        name = recording.session_id
        metrics["sessions"][name] = {"ceiling_hz": ceiling_hz, **found.table()}
        _write_units(folder.path / f"per_unit_{name}.csv", found, run.trained.vocabulary[name].unit_ids)
        _write_arrays(folder.path / f"calibration_{name}.npz", found)
        save_figure(draw_page(found), folder.figures / f"calibration_{name}.png", dpi=120)
    metrics["seconds"] = time.monotonic() - started
    folder.finish(metrics)
    return metrics


def calibrate_recording(
    run: TrainedRun,
    recording: Recording,
    spans: Sequence[Span],
    trials: Trials | None,
    config: CalibrateConfig,
    progress: Progress | None = None,
) -> tuple[Findings, float | None]:
    """Generate stretches of one recording and compare them; also the ceiling of intensities in Hz, if there was one.

    Args:
        run: the model.
        recording: known to it.
        spans: stretches, each of which the model generates from the real activity before it.
        trials: in these stretches.
        config: settings.
        progress: told how far generation is.
    """
    total = config.copies * sum(map(len, spans)) * recording.bin_s

    def tell(bins: int, events: int) -> None:
        if progress is not None:
            progress(recording.session_id, bins * recording.bin_s, total)

    ceiling = ceiling_of(run, recording, config)
    generated = generate_spans(
        run.trained.model,
        run.trained.vocabulary,
        [(recording, span) for span in spans],
        n=config.copies,
        seed=config.seed,
        options=GenerationOptions(
            parallel=_PARALLEL, ceilings={} if ceiling is None else {recording.session_id: ceiling}
        ),
        progress=tell,
    )
    real = _recorded(recording, spans)
    first = np.cumsum([0, *real.lengths])
    copies = [
        Activity(
            lengths=real.lengths,
            n_units=real.n_units,
            bin_s=real.bin_s,
            bins=np.concatenate([s.streams[k].bins + f for s, f in zip(generated, first, strict=False)]),
            units=np.concatenate([s.streams[k].units for s in generated]),
        )
        for k in range(config.copies)
    ]
    rescaled = rescale(
        own_intensities(run, recording, spans, ceiling),
        np.random.default_rng([config.seed, 2]),
        min_events=config.min_events,
    )
    found = find(real, copies, rescaled, session_id=recording.session_id, trials=trials, config=config)
    return found, None if ceiling is None else ceiling / recording.bin_s


def stretches(recording: Recording, part: Part, config: CalibrateConfig) -> list[Span]:
    """The part's spans in pieces of at least `stretch_s`, from the beginning, `max_s` in all."""
    least = max(1, round(config.stretch_s / recording.bin_s))
    left = max(1, round(config.max_s / recording.bin_s))
    found = []
    for span in recording.part(part):
        n = max(1, len(span) // least)
        edges = span.start + np.round(np.linspace(0, len(span), n + 1)).astype(int)
        for start, stop in itertools.pairwise(edges):
            length = min(int(stop - start), left)
            if length:
                found.append(Span(epoch=span.epoch, start=int(start), stop=int(start) + length))
            left -= length
    return found


def ceiling_of(run: TrainedRun, recording: Recording, config: CalibrateConfig) -> float | None:
    """Expected events of a unit in a bin above which no intensity rises; None for the exact model."""
    if config.ceiling == "none":
        return None
    if config.ceiling == "validation":
        return fit_ceiling(run.trained.model, run.data, recording)[0]
    return float(config.ceiling) * recording.bin_s


def own_intensities(
    run: TrainedRun, recording: Recording, spans: Sequence[Span], ceiling: float | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The model's expected events per bin given the real past, and the counts, both (bins, N), piece after piece."""
    most = np.inf if ceiling is None else ceiling
    size = max(round(run.data.config.chunk_s / recording.bin_s), 2 * run.data.context_bins)
    pieces = [
        Span(epoch=span.epoch, start=start, stop=min(start + size, span.stop))
        for span in spans
        for start in range(span.start, span.stop, size)
    ]
    for piece, batch in zip(pieces, run.data.batches_of(recording, pieces), strict=True):
        with torch.no_grad():
            intensity = run.trained.model(batch)[0].double().exp()[0]
        yield np.minimum(intensity.numpy(), most), recording.counts(piece)


def trials_of(recording: Recording, spans: Sequence[Span], config: CalibrateConfig) -> Trials | None:
    """Whole trials within the stretches; None if no stimulus is named or the session has no trials.

    Raises:
        UserError: the trials have no such column, or no whole trial lies in the stretches.
    """
    columns = recording.session.trials
    if config.stimulus is None or not columns:
        return None
    path, name = recording.session.path, config.stimulus
    if name not in columns or name in ("start", "stop"):
        there = ", ".join(c for c in columns if c not in ("start", "stop")) or "none"
        raise UserError(f"stimulus={name}: {path} has no such column of trials; it has {there}")
    number = np.concatenate(read_trials(recording, spans))
    edges = np.flatnonzero(np.diff(number, prepend=-1, append=-1))
    start, stop = edges[:-1], edges[1:]
    inside = number[start] >= 0 if len(start) else np.zeros(0, bool)
    start, stop = start[inside], stop[inside]
    least = 3 * pair_bins(config, recording.bin_s)
    if not len(start) or (stop - start).min() < least:
        found = f"the shortest has {(stop - start).min()} bins" if len(start) else "there is none"
        raise UserError(
            f"stimulus={name}: {path}: expected whole trials of {least} bins or more in the part, {found}; leave "
            "stimulus out, lower pair_s, or raise stretch_s"
        )
    values = np.asarray(columns[name])[number[start]]
    labels, index = np.unique(values, return_inverse=True)
    if len(labels) > _MOST_STIMULI:
        raise UserError(
            f"stimulus={name}: {path} has {len(labels)} different values in its trials, expected {_MOST_STIMULI} "
            "or fewer that come again; name another column"
        )
    return Trials(
        start=start, n_bins=int((stop - start).min()), stimulus=index, labels=tuple(map(str, labels))
    )


def _check(recording: Recording, spans: Sequence[Span], config: CalibrateConfig) -> None:
    bins = block_bins(config, recording.bin_s)
    blocks = Blocks.cut([len(span) for span in spans], bins=bins)
    if len(blocks) < LEAST_BLOCKS or blocks.lengths.max() < pair_bins(config, recording.bin_s):
        seconds = sum(map(len, spans)) * recording.bin_s
        raise UserError(
            f"{recording.session.path}: the {config.part} part has {seconds:g} s, {len(blocks)} block(s) of "
            f"block_s={config.block_s:g}, expected {LEAST_BLOCKS} or more to make halves of; lower block_s (to no less "
            "than the activity remembers) or use a longer recording"
        )
    if not any(len(recording.events(span).times) for span in spans):
        raise UserError(
            f"{recording.session.path}: no event in the {config.part} part; use a longer recording or another "
            "data.split"
        )


def _recorded(recording: Recording, spans: Sequence[Span]) -> Activity:
    bins, units, first = [], [], 0
    for span in spans:
        tokens = recording.tokens(span)
        bins.append(tokens.bins - span.start + first)
        units.append(tokens.units)
        first += len(span)
    return Activity(
        lengths=tuple(map(len, spans)),
        n_units=recording.session.n_units,
        bin_s=recording.bin_s,
        bins=np.concatenate(bins).astype(np.int64),
        units=np.concatenate(units).astype(np.int64),
    )


def _write_units(path: Path, found: Findings, ids: Sequence[str]) -> None:
    """A row per unit: events, then distance, floor, band and both verdicts of each statistic, and time rescaling."""
    header = ["unit", "unit_id", "n_events", "n_events_generated", "rate_hz", "rate_hz_generated", "fano",
              "fano_generated"]  # fmt: skip
    for name in found.units:
        header += [f"{name}_{word}" for word in ("distance", "floor", "bound", "within", "stands_out")]
    header += ["rescaling_statistic", "rescaling_p", "expected_events", "repeats", "expected_repeats"]
    rescaled = found.rescaled
    rate, fano = found.units["rate"], found.units["fano"]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for unit in range(found.real.n_units):
            row: list[Any] = [unit, ids[unit], int(found.real.events[unit]), found.copied_events[unit]]
            row += [rate.real[unit, 0], rate.generated[unit, 0], fano.real[unit, 0], fano.generated[unit, 0]]
            for each in found.units.values():
                row += [each.distance[unit], each.floor[unit], each.bound[unit]]
                known = bool(each.tested[unit])
                row += [int(each.within[unit]) if known else "", int(each.stands_out[unit]) if known else ""]
            row += [rescaled.statistic[unit], rescaled.p[unit], rescaled.expected_events[unit]]
            row += [int(rescaled.repeats[unit]), rescaled.expected_repeats[unit]]
            writer.writerow([_word(value) for value in row])


def _word(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if np.isfinite(value) else ""
    return value


def _write_arrays(path: Path, found: Findings) -> None:
    """Values of every statistic, matrices of correlations, and rescaled steps; docs/calibration.md names the arrays."""
    arrays: dict[str, Any] = {
        "bin_s": found.real.bin_s,
        "correlation_units": found.paired,
        "correlation_real": found.correlations[0],
        "correlation_generated": found.correlations[1],
        "rescaled": np.concatenate(found.rescaled.uniform),
        "rescaled_unit": np.repeat(np.arange(found.real.n_units), [len(u) for u in found.rescaled.uniform]),
    }
    for name, each in {**found.units, **found.population}.items():
        for word in ("real", "generated", "low", "high"):
            arrays[f"{name}_{word}"] = getattr(each, word)
        edges = getattr(each.statistic, "edges", None)
        if edges is not None:
            arrays[f"{name}_edges"] = edges
    for response in found.responses:
        arrays[f"response_{response.label}_r"] = response.generated
        arrays[f"response_{response.label}_ceiling"] = response.ceiling
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)
