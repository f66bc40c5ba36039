"""A session as frames and targets of contiguous stretches, standardised on its training part.

Legend: T bins of a stretch, L bins of lead-in before it, N units, D numbers of all targets together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neuroformer.data import Part, Recording, Span
from neuroformer.data.splits import PARTS
from neuroformer.errors import UserError
from neuroformer.settings.backbones import BackbonesConfig
from neuroformer.settings.variables import VariableConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """Contiguous bins of one part.

    Attributes:
        x: (L + T, N) float32 standardised activity, 0 where a unit has none.
        seen: (L + T,) bool: some unit has a value in the frame (one that varies in training).
        y: (T, D) float32 standardised targets, 0 where unknown.
        known: (T, D) bool.
        lead: L, bins of the gap before the part (or of nothing, at the start of an epoch); never another part's.
    """

    x: np.ndarray
    seen: np.ndarray
    y: np.ndarray
    known: np.ndarray
    lead: int

    def __len__(self) -> int:
        """Bins T."""
        return len(self.y)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSession:
    """Frames and targets of one session.

    Attributes:
        name: of the session.
        path: of its file.
        parts: stretches of training, validation and test.
        columns: of each target, its columns of y.
        mean: (D,) of the targets in training, in their units.
        scale: (D,) standard deviation, likewise.
        regions: (N,) number of the region of each unit, 0 if there are none.
    """

    name: str
    path: str
    parts: dict[Part, list[Stretch]]
    columns: dict[str, slice]
    mean: np.ndarray
    scale: np.ndarray
    regions: np.ndarray

    @property
    def n_units(self) -> int:
        """N."""
        return len(self.regions)

    @property
    def n_targets(self) -> int:
        """D."""
        return len(self.mean)


def open_recording(path: str, config: BackbonesConfig) -> Recording:
    """A session on the clock of the frames, with gaps of a window.

    Raises:
        UserError: it lacks a target or has one that is not numbers on a line, or no traces where they are asked for.
    """
    variables = {name: VariableConfig(role="target") for name in config.targets}
    recording = Recording(
        path, bin_s=config.bin_s, split=config.split, context_bins=config.window, variables=variables
    )
    for name in config.targets:
        if name not in recording.variables:
            there = ", ".join(recording.session.behavior_names) or "none"
            raise UserError(f"targets: {path} has no behaviour {name!r}; it has {there}")
        info = recording.variables[name].info
        if info.kind != "continuous" or info.period is not None:
            what = info.kind if info.kind != "continuous" else "circular"
            raise UserError(
                f"targets: {name!r} is {what} in {path}, expected numbers on a line; store an angle as cosine and "
                "sine, or use neuroformer decode"
            )
    if config.input == "traces" and not recording.session.has_traces:
        raise UserError(f"input=traces: {path} has no traces; use input=events")
    return recording


def read_session(recording: Recording, config: BackbonesConfig) -> FrameSession:
    """Read all parts and standardise them.

    Raises:
        UserError: a target has no known value or one and the same in training, or none to score.
    """
    kind: Literal["traces", "events"] = (
        "traces"
        if config.input != "events" and (config.input == "traces" or recording.session.has_traces)
        else "events"
    )
    raw = {
        part: [_raw(recording, span, part, kind, config) for span in recording.part(part)] for part in PARTS
    }
    x = np.concatenate([s[0] for s in raw["train"]])
    y = np.concatenate([s[1] for s in raw["train"]])
    path = str(recording.session.path)
    columns, first = {}, 0
    for name in config.targets:
        width = recording.variables[name].shape[0]
        columns[name] = slice(first, first + width)
        first += width
    for name, at in columns.items():
        for part in ("train", "val", "test"):
            if not all(np.isfinite(np.concatenate([s[1] for s in raw[part]])[:, at]).any(0)):
                raise UserError(f"{path}: no known {name!r} in its {part} part; choose another split")
    mean, scale = np.nanmean(y, 0), np.nanstd(y, 0)
    for name, at in columns.items():
        if not (scale[at] > 1e-12 * np.abs(mean[at])).all():
            raise UserError(f"{path}: {name!r} has one and the same value in training; leave it out")
    middle, spread = _moments(x)
    parts: dict[Part, list[Stretch]] = {}
    for part, stretches in raw.items():
        parts[part] = []
        for frames, values, lead in stretches:
            known = np.isfinite(values)
            z = np.where(np.isfinite(frames), (frames - middle) / spread, 0)
            parts[part].append(
                Stretch(
                    x=np.where(spread < np.inf, z, 0).astype(np.float32),
                    seen=(np.isfinite(frames) & (spread < np.inf)).any(1),
                    y=np.where(known, (values - mean) / scale, 0).astype(np.float32),
                    known=known,
                    lead=lead,
                )
            )
    return FrameSession(
        name=recording.session_id, path=path, parts=parts, columns=columns, mean=mean, scale=scale,
        regions=_regions(recording, config),
    )  # fmt: skip


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each unit; a unit that says nothing in training has an infinite one."""
    known = np.isfinite(x)
    n = np.maximum(known.sum(0), 1)
    middle = np.where(known, x, 0).sum(0, dtype=np.float64) / n
    spread = np.sqrt((np.where(known, x - middle, 0) ** 2).sum(0) / n)
    return middle, np.where(spread > 1e-9 * (1 + np.abs(middle)), spread, np.inf)


def _raw(
    recording: Recording, span: Span, part: Part, kind: str, config: BackbonesConfig
) -> tuple[np.ndarray, np.ndarray, int]:
    """(L + T, N) frames, (T, D) targets with NaN where unknown, and L."""
    # Between parts lies a gap of a window, so that these frames are nobody's; training looks back on nothing.
    first = span.start if part == "train" else max(0, span.start - (config.window - 1))
    whole = Span(epoch=span.epoch, start=first, stop=span.stop)
    frames = recording.traces(whole) if kind == "traces" else recording.counts(whole).astype(np.float32)
    found = [recording.variable(name, span, all_labels=True) for name in config.targets]
    values = [np.where(b.known[:, None], b.values.astype(np.float64), np.nan) for b in found]
    return frames, np.concatenate(values, 1), span.start - first


def _regions(recording: Recording, config: BackbonesConfig) -> np.ndarray:
    names = recording.session.units.get("region")
    if names is None:
        if config.embedding == "regions":
            raise UserError(
                f"embedding=regions: the units of {recording.session.path} have no region; use embedding=linear"
            )
        return np.zeros(recording.session.n_units, np.int64)
    return np.unique(np.asarray(names, str), return_inverse=True)[1]


def in_units(session: FrameSession, z: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Standardised values (T, D) in the targets' units."""
    return [part * session.scale + session.mean for part in z]
