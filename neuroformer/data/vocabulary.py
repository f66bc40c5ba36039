"""The unit vocabulary: (session, unit) → embedding row, with what the model must know of each session.

It holds builtins and NumPy arrays only, travels in the checkpoint, and grows when a session is added: rows that
exist never move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from neuroformer.data.variables import VariableEntry
from neuroformer.errors import UserError
from neuroformer.settings.variables import VariableConfig


@dataclass(frozen=True, kw_only=True)
class SessionEntry:
    """One session of the vocabulary.

    Attributes:
        session_id: unique name of the session.
        n_units: number of units, N.
        train_counts: (N,) int64, events of each unit in the training spans.
        train_bins: bins in the training spans.
        level_edges: inner edges of the amplitude levels; empty for spikes.
        level_amplitudes: amplitude that stands for each level (the median of the training events); empty for spikes.
        level_counts: training events at each level; empty for spikes.
        unit_ids: (N,) names of the units.
    """

    session_id: str
    n_units: int
    train_counts: np.ndarray
    train_bins: int
    level_edges: np.ndarray = field(default_factory=lambda: np.zeros(0))
    level_amplitudes: np.ndarray = field(default_factory=lambda: np.zeros(0))
    level_counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    unit_ids: tuple[str, ...] = ()

    @property
    def n_levels(self) -> int:
        """Amplitude levels of the session; 1 for spikes."""
        return len(self.level_edges) + 1

    @property
    def train_rate(self) -> np.ndarray:
        """(N,) events per bin of each unit in training; a unit without events counts half an event.

        This is the homogeneous Poisson model, the null of `bits_per_spike`.
        """
        return np.maximum(self.train_counts, 0.5) / self.train_bins


class Vocabulary:
    """Sessions in the order in which they were added.

    Args:
        bin_s: width of a bin in seconds, one for all sessions: a token means the same everywhere.
    """

    def __init__(self, *, bin_s: float) -> None:
        """See the class."""
        self.bin_s = bin_s
        self._entries: dict[str, SessionEntry] = {}
        self._offsets: dict[str, int] = {}
        self._indices: dict[str, int] = {}
        self.n_rows = 0
        self.variables: dict[str, VariableEntry] = {}

    def add(self, entry: SessionEntry) -> None:
        """Append a session; its units take the next rows.

        Raises:
            UserError: the session is there already.
        """
        if entry.session_id in self._entries:
            raise UserError(
                f"session {entry.session_id!r} is in the vocabulary already; every session needs its own session_id"
            )
        self._offsets[entry.session_id] = self.n_rows
        self._indices[entry.session_id] = len(self._entries)
        self._entries[entry.session_id] = entry
        self.n_rows += entry.n_units

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self._entries)

    def __iter__(self) -> Iterator[SessionEntry]:
        """Entries in the order of their index."""
        return iter(self._entries.values())

    def __contains__(self, session_id: object) -> bool:
        """Whether the session is known."""
        return session_id in self._entries

    def __getitem__(self, session_id: str) -> SessionEntry:
        """The entry of a session.

        Raises:
            UserError: the session is not in the vocabulary.
        """
        if session_id not in self._entries:
            known = ", ".join(list(self._entries)[:5]) + (", …" if len(self) > 5 else "")
            raise UserError(
                f"session {session_id!r} is not in the model's vocabulary (it knows {known}); add it with finetune.py"
            )
        return self._entries[session_id]

    def index(self, session_id: str) -> int:
        """Position of a session, its embedding row."""
        self[session_id]
        return self._indices[session_id]

    def offset(self, session_id: str) -> int:
        """Row of the session's first unit."""
        self[session_id]
        return self._offsets[session_id]

    @property
    def n_levels(self) -> int:
        """The largest number of amplitude levels of any session."""
        return max((e.n_levels for e in self), default=1)

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint."""
        return {
            "bin_s": self.bin_s,
            "variables": [_builtins(asdict(entry)) for entry in self.variables.values()],
            "sessions": [
                {
                    "session_id": e.session_id,
                    "n_units": e.n_units,
                    "train_counts": e.train_counts.tolist(),
                    "train_bins": int(e.train_bins),
                    "level_edges": e.level_edges.tolist(),
                    "level_amplitudes": e.level_amplitudes.tolist(),
                    "level_counts": e.level_counts.tolist(),
                    "unit_ids": list(e.unit_ids),
                }
                for e in self
            ],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Vocabulary:
        """Rebuild from `state()`."""
        vocabulary = cls(bin_s=float(state["bin_s"]))
        for v in state.get("variables", []):
            settings = VariableConfig(**v["settings"])
            rest: dict[str, Any] = {k: tuple(x) if isinstance(x, list) else x for k, x in v.items()}
            vocabulary.variables[v["name"]] = VariableEntry(**(rest | {"settings": settings}))
        if not (np.isfinite(vocabulary.bin_s) and vocabulary.bin_s > 0):
            raise ValueError(f"vocabulary: bin_s is {vocabulary.bin_s}, expected seconds above 0")
        for s in state["sessions"]:
            _check_entry(s)
            vocabulary.add(
                SessionEntry(
                    session_id=s["session_id"],
                    n_units=s["n_units"],
                    train_counts=np.asarray(s["train_counts"], np.int64),
                    train_bins=s["train_bins"],
                    level_edges=np.asarray(s["level_edges"], np.float64),
                    level_amplitudes=np.asarray(s["level_amplitudes"], np.float64),
                    level_counts=np.asarray(s["level_counts"], np.int64),
                    unit_ids=tuple(s["unit_ids"]),
                )
            )
        return vocabulary


def _check_entry(state: dict[str, Any]) -> None:
    """Refuse a session whose parts contradict each other.

    Raises:
        ValueError: which part.
    """
    n_units, counts = state["n_units"], np.asarray(state["train_counts"])
    edges, sizes = np.asarray(state["level_edges"], float), np.asarray(state["level_amplitudes"], float)
    whole = all(
        type(count) is int and count >= 0 for count in (*state["train_counts"], *state["level_counts"])
    )
    levels = len(edges) + 1
    for holds, what in (
        (isinstance(state["session_id"], str), "session_id is no text"),
        (type(n_units) is int and n_units >= 1, f"n_units is {n_units!r:.40}"),
        (whole and counts.shape == (n_units,), "train_counts are not one count a unit"),
        (type(state["train_bins"]) is int and state["train_bins"] >= 1, "train_bins is no number of bins"),
        (
            edges.ndim == 1 and np.isfinite(edges).all() and (np.diff(edges) > 0).all(),
            "level_edges do not rise",
        ),
        (
            not len(sizes) or (sizes.shape == (levels,) and np.isfinite(sizes).all()),
            "level_amplitudes do not fit",
        ),
        (len(state["level_counts"]) in (0, levels), "level_counts do not fit level_edges"),
        (
            len(state["unit_ids"]) in (0, n_units)
            and all(isinstance(name, str) for name in state["unit_ids"]),
            "unit_ids are not one text a unit",
        ),
    ):
        if not holds:
            raise ValueError(f"vocabulary: {what}")


def _builtins(value: Any) -> Any:
    """Tuples as lists, in mappings too."""
    if isinstance(value, dict):
        return {key: _builtins(item) for key, item in value.items()}
    return [_builtins(item) for item in value] if isinstance(value, tuple | list) else value
