"""The units of several sessions in one table, and the labels that are asked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from neuroformer.errors import UserError
from neuroformer.session import Session

TEXT_COLUMNS = ("region", "cell_type", "label")
CONFIDENCE = "label_confidence"


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitTable:
    """What the session files say of N units, one session after the other.

    Attributes:
        session: (N,) text, session_id.
        subject: (N,) text, the animal.
        unit: (N,) int64, index within the session.
        unit_id: (N,) text, the name of the unit in the file, or its index.
        columns: further (N,) text columns; empty where unknown. Always with `region`, `cell_type` and `label`.
        position: (N, 3) float64, NaN where unknown.
        rate: (N,) float64, events per second of valid recording.
        global_id: (N,) int64, -1 where unknown.
        confidence: (N,) float64 of the label, NaN where the file gives none.
    """

    session: np.ndarray
    subject: np.ndarray
    unit: np.ndarray
    unit_id: np.ndarray
    columns: dict[str, np.ndarray]
    position: np.ndarray
    rate: np.ndarray
    global_id: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        """Number of units."""
        return len(self.unit)


def unit_table(sessions: Sequence[Session]) -> UnitTable:
    """Read the unit tables of sessions."""
    names = dict.fromkeys(TEXT_COLUMNS)
    for session in sessions:
        names.update(dict.fromkeys(n for n, v in session.units.items() if _is_text(v) and n != "id"))
    rows = [_session_rows(session, list(names)) for session in sessions]

    def joined(key: str) -> np.ndarray:
        return np.concatenate([row[key] for row in rows])

    fixed = ("session", "subject", "unit", "unit_id", "position", "rate", "global_id", "confidence")
    return UnitTable(
        columns={name: joined(f"column:{name}") for name in names}, **{key: joined(key) for key in fixed}
    )


def _is_text(values: np.ndarray) -> bool:
    return values.ndim == 1 and values.dtype.kind == "U"


def _session_rows(session: Session, names: list[str]) -> dict[str, np.ndarray]:
    n, units = session.n_units, session.units
    position = np.full((n, 3), np.nan)
    if "position" in units:
        position[:, : units["position"].shape[1]] = units["position"]
    valid_s = float(np.diff(session.intervals, axis=1).sum())
    rows = {
        "session": np.full(n, session.session_id),
        "subject": np.full(n, session.subject_id),
        "unit": np.arange(n),
        "unit_id": np.asarray(units.get("id", np.arange(n))).astype(str),
        "position": position,
        "rate": session.event_counts / valid_s,
        "global_id": np.asarray(units.get("global_id", np.full(n, -1)), np.int64),
        "confidence": np.asarray(units.get(CONFIDENCE, np.full(n, np.nan)), np.float64),
    }
    for name in names:
        values = units.get(name)
        known = values is not None and _is_text(values)
        rows[f"column:{name}"] = np.asarray(values) if known else np.full(n, "")
    return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedLabels:
    """Which units are asked for which label.

    Attributes:
        label: (N,) text; empty for units that take no part.
        classes: sorted names of the labels.
        animals: the animals that have asked units, in order of appearance.
        dropped: labels that occur in too few animals.
        merged: how many labels became part of another name.
    """

    label: np.ndarray
    classes: np.ndarray
    animals: tuple[str, ...]
    dropped: tuple[str, ...]
    merged: int


def asked_labels(
    units: UnitTable,
    column: str,
    *,
    exclude: Sequence[str] = (),
    merge: str = "",
    min_confidence: float = 0.0,
    min_animals: int = 2,
) -> AskedLabels:
    """Choose the labels that can be asked across animals.

    Args:
        units: the units.
        column: text column that holds the labels.
        exclude: wildcards of labels to leave out.
        merge: regular expression that is cut out wherever two or more labels become one by it.
        min_confidence: least confidence of a label; 0 asks for none.
        min_animals: animals in which a label must occur.

    Raises:
        UserError: no such column, no labels, no confidence, one animal only, or fewer than two labels are left.
    """
    if column not in units.columns or not (units.columns[column] != "").any():
        known = [name for name, values in units.columns.items() if (values != "").any()]
        there = f"these sessions have {', '.join(known)}" if known else "these sessions have no labels at all"
        raise UserError(
            f"label={column}: no unit of these sessions has a value in a text column units/{column}; {there}"
        )
    label = units.columns[column].astype(object)
    label[[any(fnmatchcase(name, pattern) for pattern in exclude) for name in label]] = ""
    if min_confidence > 0:
        if np.isnan(units.confidence[label != ""]).all():
            raise UserError(
                f"min_confidence={min_confidence:g}: no labelled unit has a value in units/{CONFIDENCE}; "
                "leave the setting out"
            )
        # A comparison with NaN is false: a label of unknown confidence does not pass.
        label[~(units.confidence >= min_confidence)] = ""
    merged = 0
    if merge:
        label, merged = _merge(label, merge)
    having = defaultdict(set)
    for name, animal in zip(label, units.subject, strict=True):
        if name:
            having[name].add(str(animal))
    animals = sorted(set().union(*having.values()) if having else set())
    if len(animals) < 2:
        raise UserError(
            f"label={column}: {len(animals)} animal(s) with labels ({', '.join(animals) or 'none'}); expected 2 or "
            "more, one to hold out: add sessions of other animals (animals differ by subject_id), or loosen exclude= "
            "and min_confidence="
        )
    kept = sorted(name for name, found in having.items() if len(found) >= min_animals)
    if len(kept) < 2:
        raise UserError(
            f"label={column}: {len(kept)} of {len(having)} labels occur in {min_animals} or more animals; expected 2 "
            "or more labels to tell apart"
        )
    label[~np.isin(label.astype(str), kept)] = ""
    present = dict.fromkeys(str(a) for a, name in zip(units.subject, label, strict=True) if name)
    return AskedLabels(
        label=label.astype(str),
        classes=np.array(kept),
        animals=tuple(present),
        dropped=tuple(sorted(set(having) - set(kept))),
        merged=merged,
    )


def _merge(label: np.ndarray, pattern: str) -> tuple[np.ndarray, int]:
    """Cut `pattern` out of the labels that are then no longer alone with their name."""
    groups = defaultdict(set)
    for name in set(label) - {""}:
        groups[re.sub(pattern, "", name)].add(name)
    new = {name: short for short, names in groups.items() if short and len(names) > 1 for name in names}
    return np.array([new.get(name, name) for name in label], object), len(new)
