"""`neuroformer info`: what a session file holds."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuroformer.cli.command import Command

if TYPE_CHECKING:
    from neuroformer.session import SeriesInfo, Session, TimeSeries

BLOCK_BYTES = 16 * 1024 * 1024
MOST_NAMES = 8


@dataclass(kw_only=True)
class InfoConfig:
    """Settings of `neuroformer info`."""

    file: str
    """Session file."""
    format: Literal["text", "json"] = "text"
    """A summary to read, or the same as JSON."""


def info(config: InfoConfig) -> None:
    """Print what the session holds."""
    from neuroformer.session import Session

    with Session(config.file) as session:
        summary = summarise(session)
    print(json.dumps(summary, indent=2) if config.format == "json" else "\n".join(_lines(summary)))


def summarise(session: "Session") -> dict[str, Any]:
    """What a session holds, as plain numbers, text, lists and dicts.

    All values are looked through in blocks, so memory does not grow with the recording.
    """
    rates = session.event_counts / session.duration
    lengths = session.intervals[:, 1] - session.intervals[:, 0]
    return {
        "file": str(session.path),
        "bytes": session.path.stat().st_size,
        "session_id": session.session_id,
        "subject_id": session.subject_id,
        "species": session.species,
        "description": session.description,
        "source": session.source,
        "start_s": session.start,
        "stop_s": session.stop,
        "duration_s": session.duration,
        "intervals": {"count": len(lengths), "duration_s": float(lengths.sum())},
        "n_units": session.n_units,
        "n_silent_units": int((session.event_counts == 0).sum()),
        "unit_columns": sorted(session.units),
        "regions": _counts(session, "region"),
        "cell_types": _counts(session, "cell_type"),
        "n_events": session.n_events,
        "rate_events_per_s": {
            "median": float(np.median(rates)),
            "lowest": float(rates.min()),
            "highest": float(rates.max()),
        },
        "amplitudes": _amplitudes(session),
        "traces": _series(session.traces_info(), session.traces) if session.has_traces else None,
        "stimulus": {
            name: _series(session.stimulus_info(name), lambda *span, name=name: session.stimulus(name, *span))
            for name in session.stimulus_names
        },
        "behavior": {
            name: _series(session.behavior_info(name), lambda *span, name=name: session.behavior(name, *span))
            for name in session.behavior_names
        },
        "trials": {"count": len(session.trials.get("start", ())), "columns": sorted(session.trials)},
        "truth": _truth(session),
    }


def _spans(start: float, stop: float, n_bytes: int) -> Iterator[tuple[float | None, float | None]]:
    """Spans of time that hold all of [start, stop], `BLOCK_BYTES` each if samples are even."""
    inner = np.linspace(start, stop, max(1, math.ceil(n_bytes / BLOCK_BYTES)) + 1)[1:-1].tolist()
    return zip([None, *inner], [*inner, None], strict=True)


def _counts(session: "Session", column: str) -> dict[str, int]:
    names, counts = np.unique(session.units.get(column, np.empty(0, dtype=str)), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _amplitudes(session: "Session") -> dict[str, float] | None:
    if not session.has_amplitudes:
        return None
    lowest, highest, total = math.inf, -math.inf, 0.0
    for start, stop in _spans(session.start, session.stop, 16 * session.n_events):
        amplitudes = session.events(start, stop).amplitudes
        if amplitudes is not None and len(amplitudes):
            lowest, highest = min(lowest, amplitudes.min().item()), max(highest, amplitudes.max().item())
            total += amplitudes.sum(dtype=np.float64).item()
    return {"mean": total / session.n_events, "lowest": lowest, "highest": highest}


def _series(info: "SeriesInfo", read: "Callable[[float | None, float | None], TimeSeries]") -> dict[str, Any]:
    size = info.n_samples * math.prod(info.shape)
    missing = 0
    for start, stop in _spans(info.first, info.last, size * info.dtype.itemsize):
        values = read(start, stop).values
        missing += int((values < 0).sum() if info.kind == "categorical" else np.isnan(values).sum())
    return {
        "kind": info.kind,
        "n_samples": info.n_samples,
        "sample_shape": list(info.shape),
        "dtype": str(info.dtype),
        "rate_per_s": info.rate,
        "unit": info.unit,
        "labels": list(info.labels),
        "period": info.period,
        "missing": missing / size,
    }


def _truth(session: "Session") -> dict[str, Any] | None:
    truth = session.truth
    if truth is None:
        return None
    off_diagonal = truth.weights[~np.eye(session.n_units, dtype=bool)]
    return {
        "n_connections": int((off_diagonal != 0).sum()),
        "n_excitatory": int((off_diagonal > 0).sum()),
        "n_inhibitory": int((off_diagonal < 0).sum()),
        "n_pairs": off_diagonal.size,
        "n_hidden": truth.hidden,
        "emission": truth.emission,
        "dt_s": truth.dt,
        "log_likelihood_nats": float(truth.log_likelihood.sum()),
        "extra": sorted(truth.extra),
    }


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    """The summary for reading, a line a topic; what the session does not have is left out."""
    rates, amplitudes = summary["rate_events_per_s"], summary["amplitudes"]
    valid, trials, silent = summary["intervals"], summary["trials"], summary["n_silent_units"]
    epochs = f"{valid['count']} interval{'s' if valid['count'] > 1 else ''}"
    animal = ", ".join(filter(None, (summary["subject_id"], summary["species"])))
    yield f"{summary['session_id']} ({animal})"
    rows = {
        "file": f"{summary['file']}, {_bytes(summary['bytes'])}",
        "description": summary["description"],
        "source": summary["source"],
        "recorded": f"{summary['start_s']:g} to {summary['stop_s']:g} s ({_duration(summary['duration_s'])})",
        "valid": f"{epochs}, {_duration(valid['duration_s'])}",
        "units": f"{summary['n_units']:,}" + (f", {silent:,} of them silent" if silent else ""),
        "unit table": ", ".join(summary["unit_columns"]),
        "regions": _tally(summary["regions"]),
        "cell types": _tally(summary["cell_types"]),
        "events": f"{summary['n_events']:,}",
        "rates": f"median {rates['median']:.3g}, {rates['lowest']:.3g} to {rates['highest']:.3g} events/s",
        "amplitudes": "{mean:.3g} on average, {lowest:.3g} to {highest:.3g}".format(**amplitudes)
        if amplitudes
        else "",
        "traces": _sample(summary["traces"]) if summary["traces"] else "",
        **{f"stimulus {name}": _sample(series) for name, series in summary["stimulus"].items()},
        **{f"behavior {name}": _sample(series) for name, series in summary["behavior"].items()},
        "trials": f"{trials['count']:,} ({', '.join(trials['columns'])})" if trials["columns"] else "",
        "truth": _circuit(summary["truth"]) if summary["truth"] else "",
    }
    width = max(len(name) for name, text in rows.items() if text)
    yield from (f"  {name:<{width}}  {text}" for name, text in rows.items() if text)


def _sample(series: dict[str, Any]) -> str:
    shape = " x ".join(map(str, series["sample_shape"]))
    parts = [
        " of ".join(filter(None, (series["kind"], shape))),
        f"{series['n_samples']:,} samples at {series['rate_per_s']:.4g}/s",
        f"in {series['unit']}" if series["unit"] else "",
        f"labels {_some(series['labels'])}" if series["labels"] else "",
        f"circular, period {series['period']:g}" if series["period"] else "",
        f"{series['missing']:.1%} missing" if series["missing"] else "",
    ]
    return ", ".join(filter(None, parts))


def _circuit(truth: dict[str, Any]) -> str:
    return (
        f"{truth['n_connections']:,} of {truth['n_pairs']:,} pairs connected "
        f"({truth['n_excitatory']:,} excitatory, {truth['n_inhibitory']:,} inhibitory), "
        f"{truth['n_hidden']:,} hidden neurons, "
        f"{truth['emission']} counts in steps of {truth['dt_s'] * 1e3:g} ms"
    )


def _tally(counts: dict[str, int]) -> str:
    most = sorted(counts, key=lambda name: (not name, -counts[name]))  # unknown last
    return _some([f"{name or '(unknown)'} {counts[name]:,}" for name in most])


def _some(names: list[str]) -> str:
    """The first names of a long list."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


def _bytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"


COMMAND = Command(
    name="neuroformer info",
    summary="Show what a session file holds.",
    config=InfoConfig,
    run=info,
    positional="file",
    examples=("neuroformer info sessions/mouse1_day1.h5", "neuroformer info mouse1_day1.h5 format=json"),
)
