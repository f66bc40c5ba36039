"""`neuroformer generate`: a session file per stream."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from neuroformer import __version__
from neuroformer.data import Recording, Span
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder
from neuroformer.generation.ceiling import fit_ceiling
from neuroformer.generation.sampler import Sampling
from neuroformer.generation.session_file import generated_session
from neuroformer.generation.stretches import GenerationOptions, Progress, Stimulus, Stretch, generate_spans
from neuroformer.session import write_session
from neuroformer.settings.generate import STIMULATION, GenerateConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """All that is needed to generate, checked.

    Attributes:
        run: the model and its sessions.
        recording: the one to imitate.
        spans: what is generated of it.
        options: how.
        given: variables that the model is given.
    """

    run: TrainedRun
    recording: Recording
    spans: list[Span]
    options: GenerationOptions
    given: list[str]


def generate(
    config: GenerateConfig,
    *,
    command: str = "neuroformer generate",
    progress: Progress | None = None,
    prepared: Prepared | None = None,
) -> dict[str, Any]:
    """Generate and write.

    Args:
        config: settings.
        command: its name, for metrics.json.
        progress: told of bins and events that are done.
        prepared: from `prepare`; by default it is called.

    Returns:
        What metrics.json says: files, events, generated seconds, events per second of the clock on the wall, and rates.
    """
    prepared = prepared or prepare(config)
    out = Path(config.out or Path(config.run) / "generate")
    single = out.suffix == ".h5"
    if single and out.exists() and not config.overwrite:
        raise UserError(f"{out}: exists already; choose another out=FILE, or add overwrite=true")
    folder = (
        None if single else RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    )
    run, recording = prepared.run, prepared.recording
    started = time.perf_counter()
    stretches = generate_spans(
        run.trained.model,
        run.trained.vocabulary,
        [(recording, span) for span in prepared.spans],
        n=config.streams,
        seed=config.seed,
        options=prepared.options,
        progress=progress,
    )
    taken = time.perf_counter() - started
    files = [out] if single else [
        out / f"{recording.session_id}_{stream:0{len(str(config.streams - 1))}d}.h5" for stream in range(config.streams)
    ]  # fmt: skip
    for stream, file in enumerate(files):
        about = _about(config, prepared, stream)
        data = generated_session(
            recording,
            run.trained.vocabulary[recording.session_id],
            stretches,
            stream,
            session_id=config.session_id.format(session=recording.session_id, stream=stream),
            given=prepared.given,
            about=about,
        )
        write_session(file, data, overwrite=config.overwrite)
    ceiling = prepared.options.ceilings.get(recording.session_id)
    summary = _summary(stretches, recording, taken)
    summary["ceiling_hz"] = None if ceiling is None else ceiling / recording.bin_s
    metrics = {**summary, "files": [str(file) for file in files]}
    if folder is not None:
        folder.finish(metrics)
    return metrics


def prepare(config: GenerateConfig) -> Prepared:
    """Load the run and check the settings against it.

    Raises:
        UserError: a session, unit, variable or stretch that is not there; a prefix that is too short.
    """
    by_file = config.session is not None and Path(config.session).is_file()
    run = load_run(
        config.run,
        checkpoint=config.checkpoint,
        sessions=[config.session] if by_file and config.session else None,
    )
    recording = _recording(run, None if by_file else config.session)
    model = run.trained.model
    inputs = [name for name, shape in model.variables.items() if shape.is_input]
    for name in config.condition or ():
        if name not in inputs:
            raise UserError(
                f"condition: {name!r} is no input of this model; it has {', '.join(inputs) or 'none'}, [] gives it none"
            )
    given = [
        name
        for name in (inputs if config.condition is None else config.condition)
        if name in recording.variables
    ]
    prefix = None
    if config.prefix_s is not None:
        prefix = round(config.prefix_s / recording.bin_s)
        if 0 < prefix < model.context:
            raise UserError(
                f"prefix_s={config.prefix_s:g}: the model looks {model.context * recording.bin_s:g} s back; expected "
                "that or more, or 0 to start from silence"
            )
    spans = recording.part(config.part)
    if config.duration_s is not None:
        first = spans[0]
        n_bins = max(1, round(config.duration_s / recording.bin_s))
        spans = [Span(epoch=first.epoch, start=first.start, stop=first.start + n_bins)]
    ids = run.trained.vocabulary[recording.session_id].unit_ids
    silenced = [_unit(name, ids, "silence") for name in config.silence]
    stimuli = [_stimulus(entry, ids) for entry in config.stimulate]
    longest = max(len(span) for span in spans) * recording.bin_s
    for stimulus in stimuli:
        if stimulus.unit in silenced:
            raise UserError(
                f"silence and stimulate both name unit {ids[stimulus.unit]!r}; leave it out of one"
            )
        if stimulus.seconds is not None and stimulus.seconds >= longest:
            raise UserError(
                f"stimulate: {ids[stimulus.unit]}@{stimulus.seconds:g} comes after the end of every stretch, the "
                f"longest lasts {longest:g} s; name an earlier time"
            )
    sampling = Sampling(
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        most_per_bin=config.most_per_bin,
    )
    ceilings = {}
    if config.ceiling == "validation":
        ceilings[recording.session_id] = fit_ceiling(model, run.data, recording)[0]
    elif config.ceiling != "none":
        ceilings[recording.session_id] = float(config.ceiling) * recording.bin_s
    options = GenerationOptions(
        sampling=sampling,
        ceilings=ceilings,
        given=given,
        prefix_bins=prefix,
        silenced=silenced,
        stimuli=stimuli,
        parallel=config.parallel,
    )
    return Prepared(run=run, recording=recording, spans=spans, options=options, given=given)


def _recording(run: TrainedRun, session: str | None) -> Recording:
    found = {recording.session_id: recording for recording in run.data.recordings}
    names = ", ".join(list(found)[:5]) + (", …" if len(found) > 5 else "")
    if session is None:
        if len(found) > 1:
            raise UserError(
                f"session: this run has {len(found)} sessions ({names}); name one of them, session=ID"
            )
        return run.data.recordings[0]
    if session not in found:
        raise UserError(
            f"session={session}: no session of this run ({names}) and no file of that name; name one of them"
        )
    return found[session]


def _unit(name: str, ids: tuple[str, ...], setting: str) -> int:
    if name not in ids:
        some = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
        raise UserError(f"{setting}: no unit {name!r} in this session; its units are {some}")
    return ids.index(name)


def _stimulus(entry: str, ids: tuple[str, ...]) -> Stimulus:
    match = STIMULATION.fullmatch(entry)
    assert match is not None  # the settings are checked
    unit, number = _unit(match["unit"], ids, "stimulate"), float(match["number"])
    return Stimulus(unit=unit, rate_hz=number) if match["hz"] else Stimulus(unit=unit, seconds=number)


def _about(config: GenerateConfig, prepared: Prepared, stream: int) -> dict[str, Any]:
    """What a file says of how it was made."""
    settings = dataclasses.asdict(config)
    for name in ("out", "overwrite", "parallel"):
        settings.pop(name)
    return {
        **settings,
        "run": str(prepared.run.folder.resolve()),
        "step": prepared.run.trained.step,
        "imitates": prepared.recording.session_id,
        "stream": stream,
        "condition": prepared.given,
        "ceiling_per_bin": prepared.options.ceilings.get(prepared.recording.session_id),
        "version": __version__,
    }


def _summary(stretches: list[Stretch], recording: Recording, taken: float) -> dict[str, Any]:
    n_events = sum(len(tokens) for stretch in stretches for tokens in stretch.streams)
    n_bins = sum(len(stretch.span) * len(stretch.streams) for stretch in stretches)
    seconds = n_bins * recording.bin_s
    real = sum(len(recording.tokens(s.span)) for s in stretches)
    real_s = sum(len(s.span) for s in stretches) * recording.bin_s
    return {
        "n_events": n_events,
        "n_forced": int(sum(forced.sum() for stretch in stretches for forced in stretch.forced)),
        "n_lowered": sum(sum(stretch.n_lowered) for stretch in stretches),
        "n_cells": n_bins * recording.session.n_units,
        "generated_seconds": seconds,
        "seconds": taken,
        "events_per_second": n_events / taken,
        "times_real_time": seconds / taken,
        "rate_hz": n_events / seconds / recording.session.n_units,
        "real_rate_hz": real / real_s / recording.session.n_units,
    }
