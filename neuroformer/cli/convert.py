"""`neuroformer convert`: foreign recordings to session files."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from omegaconf import MISSING

from neuroformer.cli.command import Command
from neuroformer.errors import UserError
from neuroformer.files import RunFolder, read_json
from neuroformer.importers import ArrayMapping, Imported, NwbOptions, import_arrays, import_nwb, load_mapping
from neuroformer.session import SessionData, write_session

NAME = "neuroformer convert"


@dataclass(kw_only=True)
class ConvertConfig:
    """Settings of `neuroformer convert`."""

    files: list[str] = MISSING
    """Recordings to convert: NWB files (.nwb), or arrays (.npz, .mat, .h5) with a mapping."""
    out: str = MISSING
    """Folder for the session files, each named after its session; it may hold sessions already."""
    mapping: str = ""
    """File that says which array is what; needed for .npz, .mat and .h5. Ready ones are in configs/convert/;
    docs/convert.md tells how to write one."""
    format: Literal["auto", "nwb", "arrays"] = "auto"
    """What the files are; auto goes by their names."""
    overwrite: bool = False
    """Replace session files that exist already."""
    nwb: NwbOptions = field(default_factory=NwbOptions)
    """Choices for NWB files; the defaults suit most."""


def run(config: ConvertConfig) -> int:
    """Convert each file; a fault in one does not keep the others from being converted."""
    out = Path(config.out)
    before = _sessions_before(out)
    mapping = load_mapping(config.mapping) if config.mapping else None
    began = time.monotonic()
    sources: dict[str, str] = {}
    done: dict[str, dict[str, Any]] = {}
    failed = 0
    for name in config.files:
        try:
            imported = _import(Path(name), config, mapping)
            data = imported.data
            if data.session_id in sources:
                raise UserError(
                    f"is session {data.session_id!r}, as is {sources[data.session_id]}; tell them apart by "
                    f"{'session.session_id in the mapping' if mapping else 'nwb.session.session_id'}"
                )
            target = out / f"{data.session_id}.h5"
            if target.exists() and not config.overwrite:
                raise UserError(f"{target} exists already; add overwrite=true, or choose another out=DIR")
            write_session(target, data, overwrite=config.overwrite)
        except (UserError, OSError) as error:
            failed += 1
            reason = getattr(error, "strerror", None) or error
            print(f"error: {name}: {reason}", file=sys.stderr, flush=True)
            continue
        sources[data.session_id] = name
        done[data.session_id] = _metrics(imported, name)
        print(f"{Path(name).name} → {target}: {_describe(data)}", flush=True)
        for note in imported.notes:
            print(f"  note: {note}")
    if done:
        folder = RunFolder.create(out, overwrite=True, command=NAME, config=config)
        folder.finish({"sessions": before | done})
    print(_summary(done, failed, out, time.monotonic() - began))
    return 1 if failed else 0


def _sessions_before(out: Path) -> dict[str, Any]:
    """What earlier conversions left in the folder; refused when the folder is of another kind."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, expected a folder for the session files; choose another out=DIR")
    if not (out / "metrics.json").exists():
        return {}
    metrics = read_json(out / "metrics.json")
    if metrics.get("command") != NAME:
        raise UserError(
            f"{out}: holds a run of {metrics.get('command')}, expected a folder of its own; choose another"
        )
    return dict(metrics.get("sessions", {}))


def _import(path: Path, config: ConvertConfig, mapping: ArrayMapping | None) -> Imported:
    if path.is_dir():
        raise UserError(f"is a folder, expected a recording; name the files in it, such as {path}/*.nwb")
    if not path.exists():
        raise UserError("no such file; check the name")
    if not path.is_file():
        raise UserError("is a pipe or device, expected a recording; copy its content to a file")
    if config.format == "nwb" or (config.format == "auto" and _is_nwb(path)):
        return import_nwb(path, config.nwb)
    if mapping is None:
        raise UserError(
            "a file of plain arrays needs mapping=FILE.yaml, which says what they are; ready ones stand in "
            "configs/convert/, docs/convert.md tells how to write one"
        )
    return import_arrays(path, mapping)


def _is_nwb(path: Path) -> bool:
    """Whether a file is NWB, by its name or, for other HDF5 files, its mark."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return path.suffix.lower() == ".nwb"
    try:
        with h5py.File(path, "r") as file:
            return "nwb_version" in file.attrs
    except OSError:  # broken: whoever reads it says how
        return False


def _metrics(imported: Imported, name: str) -> dict[str, Any]:
    data = imported.data
    return {
        "file": name,
        "units": data.n_units,
        "events": len(data.events),
        "seconds": data.stop - data.start,
        "valid_seconds": _valid(data),
        "notes": list(imported.notes),
    }


def _describe(data: SessionData) -> str:
    parts = [f"{data.n_units:,} units", f"{len(data.events):,} events", _duration(data.stop - data.start)]
    if _valid(data) < 0.99 * (data.stop - data.start):
        parts[-1] += f" (valid {_duration(_valid(data))})"
    for title, names in (("stimulus", data.stimulus), ("behavior", data.behavior)):
        if names:
            parts.append(f"{title} {' '.join(names)}")
    if data.trials:
        parts.append(f"{len(data.trials['start'])} trials")
    return ", ".join(parts)


def _valid(data: SessionData) -> float:
    return float(np.diff(data.intervals, axis=1).sum())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 600 else f"{seconds / 3600:.1f} h"


def _summary(done: dict[str, dict[str, Any]], failed: int, out: Path, took: float) -> str:
    units, events, seconds = (
        sum(session[key] for session in done.values()) for key in ("units", "events", "seconds")
    )
    text = f"{len(done)} {'session' if len(done) == 1 else 'sessions'} converted"
    if done:
        text += f" to {out}: {units:,} units, {events:,} events, {_duration(seconds)}, in {took:.1f} s"
    return f"{text}; {failed} {'file' if failed == 1 else 'files'} failed" if failed else text


COMMAND = Command(
    name=NAME,
    summary="Convert recordings (NWB, arrays, calcium traces) to session files.",
    config=ConvertConfig,
    run=run,
    positional="files",
    examples=(
        "neuroformer convert recordings/*.nwb out=sessions",
        "neuroformer convert recordings/worm/*.npz mapping=configs/convert/worm.yaml out=sessions/worm",
        "neuroformer convert imaging.nwb out=sessions nwb.events=traces nwb.deconvolution.decay=0.7",
    ),
)
