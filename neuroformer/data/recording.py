"""A session seen through the token clock: epochs, split spans, and chunks read slice by slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.data.clock import Epoch, epochs_of
from neuroformer.data.labels import label_mask
from neuroformer.data.open_sessions import reading
from neuroformer.data.splits import Part, Span, split_epochs
from neuroformer.data.token_file import StoredTokens, TokenFile
from neuroformer.data.tokens import LEVEL_EDGES, Tokens, tokenize
from neuroformer.data.variables import Binned, Frames, VariableReader
from neuroformer.data.vocabulary import SessionEntry
from neuroformer.errors import UserError
from neuroformer.session import Events, Session
from neuroformer.settings.data import LevelCode, SplitConfig
from neuroformer.settings.variables import LabelsConfig, VariableConfig

_PIECE = 50_000  # events that are read at a time where all are


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One row of a batch: tokens of [start − history, stop) with bins counted from start − history.

    Attributes:
        session_id: whose tokens they are.
        tokens: events of the history and of the scored bins.
        history: bins before the first scored one; those before the epoch's start hold nothing.
        n_scored: bins that count.
        time: left edge of the first scored bin, in seconds.
        variables: stimulus and behaviour of all bins, history included.
        frames: frames that appear in these bins.
    """

    session_id: str
    tokens: Tokens
    history: int
    n_scored: int
    time: float
    variables: dict[str, Binned] = field(default_factory=dict)
    frames: dict[str, Frames] = field(default_factory=dict)


class Recording:
    """A session file on the clock of the tokens.

    Args:
        path: the session file.
        bin_s: width of a bin in seconds.
        split: how it is cut into parts.
        context_bins: how far the model looks back; the least gap between parts.
        variables: stimulus and behaviour to read, as far as the session has them.
        labels: how many labels of decoded variables the training part keeps.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        bin_s: float,
        split: SplitConfig,
        context_bins: int,
        variables: dict[str, VariableConfig] | None = None,
        labels: LabelsConfig | None = None,
    ) -> None:
        """See the class."""
        self.session = Session(path)
        reading(self.session)
        self.bin_s = bin_s
        self.epochs: list[Epoch] = epochs_of(self.session, bin_s)
        self.spans = split_epochs(self.epochs, split, context_bins=context_bins, name=str(path))
        self.variables = {
            name: VariableReader(self.session, name, config)
            for name, config in (variables or {}).items()
            if VariableReader.stored(self.session, name, config)
        }
        self.labels = labels or LabelsConfig()
        self._unlabelled: list[np.ndarray] | None = None
        self._drawn: dict[str, list[Binned]] = {}
        self.keep_tokens = False
        self._kept: dict[tuple[int, bytes], Tokens] = {}
        self._stored: dict[tuple[int, bytes], StoredTokens] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be read again, for the workers of a loader."""
        return self.__dict__ | {"_kept": {}, "_stored": {}}

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return self.session.session_id

    def events(self, span: Span) -> Events:
        """Events of a span; only this slice of the file is read."""
        reading(self.session)
        epoch = self.epochs[span.epoch]
        margin = 1e-3 * self.bin_s  # the clock's tolerance decides on the edges, not the slice
        start, stop = float(epoch.time_of(span.start)), float(epoch.time_of(span.stop))
        found = self.session.events(start - margin, stop + margin)
        bins = epoch.bin_of(found.times)
        inside = (bins >= span.start) & (bins < span.stop)
        return Events(
            times=found.times[inside],
            units=found.units[inside],
            amplitudes=None if found.amplitudes is None else found.amplitudes[inside],
        )

    def tokens(self, span: Span, edges: np.ndarray | None = None) -> Tokens:
        """Tokens of a span, bins counted from the start of the epoch.

        Read from the file, or with `keep_tokens` from those of the whole epoch, which then stay in memory, or from
        where `store_tokens` put them.
        """
        key = _key(span.epoch, edges)
        if key in self._stored:
            return self._stored[key].tokens(span.start, span.stop)
        if not self.keep_tokens:
            return tokenize(self.events(span), self.epochs[span.epoch], edges)
        if key not in self._kept:
            whole = Span(epoch=span.epoch, start=0, stop=self.epochs[span.epoch].n_bins)
            self._kept[key] = tokenize(self.events(whole), self.epochs[span.epoch], edges)
        kept = self._kept[key]
        inside = slice(*np.searchsorted(kept.bins, (span.start, span.stop)))
        return Tokens(bins=kept.bins[inside], units=kept.units[inside], levels=kept.levels[inside])

    def store_tokens(self, file: TokenFile, edges: np.ndarray | None = None) -> None:
        """Put the tokens of all epochs where any stretch of them is read at once.

        Args:
            file: where to.
            edges: inner edges of the amplitude levels.

        Raises:
            OSError: the disk is full.
        """
        for number, epoch in enumerate(self.epochs):
            whole = Span(epoch=number, start=0, stop=epoch.n_bins)
            pieces = (tokenize(events, epoch, edges) for events in self._pieces(whole))
            self._stored[_key(number, edges)] = file.add(pieces, n_units=self.session.n_units)

    def drop_stored(self) -> None:
        """Read from the session file again."""
        self._stored = {}

    def _pieces(self, span: Span) -> Iterator[Events]:
        """The events of a span by pieces, of whole bins, that take little memory."""
        n_bins = sum(epoch.n_bins for epoch in self.epochs)
        size = max(1, n_bins * _PIECE // max(self.session.n_events, _PIECE))
        for start in range(span.start, span.stop, size):
            yield self.events(Span(epoch=span.epoch, start=start, stop=min(start + size, span.stop)))

    def chunk(self, span: Span, history: int, edges: np.ndarray | None = None) -> Chunk:
        """Read a span with the bins before it; only this slice of the file is read.

        Args:
            span: the bins to score.
            history: bins of the past to put before them, as far as the epoch reaches back.
            edges: inner edges of the amplitude levels.
        """
        reading(self.session)
        first = max(0, span.start - history)
        tokens = self.tokens(Span(epoch=span.epoch, start=first, stop=span.stop), edges)
        shifted = Tokens(bins=tokens.bins - (span.start - history), units=tokens.units, levels=tokens.levels)
        time = float(self.epochs[span.epoch].time_of(span.start))
        start, n_before = first - (span.start - history), span.start - history
        variables, frames = {}, {}
        for name, reader in self.variables.items():
            if reader.info.kind == "frames":
                found = reader.frames(self.epochs[span.epoch], first, span.stop)
                frames[name] = Frames(values=found.values, bins=found.bins - n_before)
            else:
                variables[name] = _pad_before(
                    self.variable(name, Span(epoch=span.epoch, start=first, stop=span.stop), drawn=True),
                    start,
                )
        return Chunk(
            session_id=self.session_id,
            tokens=shifted,
            history=history,
            n_scored=len(span),
            time=time,
            variables=variables,
            frames=frames,
        )

    def variable(self, name: str, span: Span, *, all_labels: bool = False, drawn: bool = False) -> Binned:
        """A variable of the session in the bins of a span.

        Args:
            name: of the variable; the session has it.
            span: which bins.
            all_labels: whether labels that `labels` takes from the training part are known as well.
            drawn: whether values given by `draw` stand in where none is known.
        """
        reader = self.variables[name]
        found = reader.binned(self.epochs[span.epoch], span.start, span.stop)
        if all_labels or reader.config.role == "context":
            return found
        taken = self.unlabelled[span.epoch][span.start : span.stop]
        found = found.where(~taken)
        if not drawn or name not in self._drawn:
            return found
        other, inside = self._drawn[name][span.epoch], slice(span.start, span.stop)
        known = found.known if found.values.ndim == 1 else found.known[:, None]
        return Binned(
            values=np.where(known, found.values, other.values[inside]).astype(found.values.dtype),
            known=found.known | other.known[inside],
        )

    def draw(self, name: str, span: Span, values: Binned) -> None:
        """Let values stand in for the labels that are not known, in training chunks of a span."""
        if name not in self._drawn:
            shape = self.variables[name].shape
            self._drawn[name] = [
                Binned(values=np.zeros((epoch.n_bins, *shape)), known=np.zeros(epoch.n_bins, bool))
                for epoch in self.epochs
            ]
        there = self._drawn[name][span.epoch]
        there.values[span.start : span.stop] = values.values
        there.known[span.start : span.stop] = values.known

    @property
    def unlabelled(self) -> list[np.ndarray]:
        """(bins,) bool per epoch: training bins whose labels are not used."""
        if self._unlabelled is None:
            self._unlabelled = label_mask(self, self.labels)
        return self._unlabelled

    def counts(self, span: Span) -> np.ndarray:
        """(bins, N) int16: events of each unit in each bin of a span."""
        tokens = self.tokens(span)
        counts = np.zeros((len(span), self.session.n_units), np.int16)
        np.add.at(counts, (tokens.bins - span.start, tokens.units), 1)
        return counts

    def traces(self, span: Span) -> np.ndarray:
        """(bins, N) float32: mean of the trace samples of each bin of a span, NaN where a unit has none.

        Raises:
            UserError: the session has no traces.
        """
        epoch = self.epochs[span.epoch]
        margin = 1e-3 * self.bin_s  # as in `events`
        start, stop = float(epoch.time_of(span.start)), float(epoch.time_of(span.stop))
        found = self.session.traces(start - margin, stop + margin)
        bins = epoch.bin_of(found.timestamps) - span.start
        inside = (bins >= 0) & (bins < len(span))
        values, bins = found.values[inside], bins[inside]
        known = np.isfinite(values)
        sums = np.zeros((len(span), self.session.n_units))
        counts = np.zeros(sums.shape, np.int64)
        np.add.at(sums, bins, np.where(known, values, 0))
        np.add.at(counts, bins, known)
        means = np.full(sums.shape, np.nan, np.float32)
        np.divide(sums, counts, out=means, where=counts > 0, casting="same_kind")
        return means

    def part(self, part: Part) -> list[Span]:
        """Spans of a part, in order of time."""
        return self.spans[part]

    def tiles(self, part: Part, size: int, *, shift: int = 0) -> list[Span]:
        """Cut a part's spans into pieces of `size` bins (the last of a span may be shorter).

        Args:
            part: which part.
            size: bins of a piece.
            shift: length of a first, shorter piece of every span; moves the cuts from one pass to the next.
        """
        return [
            Span(epoch=epoch, start=start, stop=stop)
            for epoch, start, stop in self.cuts(part, size, shift=shift).tolist()
        ]

    def cuts(self, part: Part, size: int, *, shift: int = 0) -> np.ndarray:
        """As `tiles`: (pieces, 3) int64, epoch, first bin and the bin after the last."""
        pieces = [np.zeros((0, 3), np.int64)]
        for span in self.spans[part]:
            cuts = np.unique(
                np.clip(np.arange(span.start + shift - size, span.stop + size, size), span.start, span.stop)
            )
            pieces.append(np.stack([np.full(len(cuts) - 1, span.epoch), cuts[:-1], cuts[1:]], 1))
        return np.concatenate(pieces)

    def entry(self, n_levels: int, code: LevelCode = "quantile") -> SessionEntry:
        """What the vocabulary keeps of the session, learned from its training spans alone.

        Args:
            n_levels: amplitude levels wanted; sessions without amplitudes have one.
            code: how amplitudes are cut into them.

        Raises:
            UserError: an amplitude of 0, which has no logarithm, with vector quantisation.
        """
        n_units = self.session.n_units
        counts = np.zeros(n_units, np.int64)
        amplitudes = []
        for span in self.spans["train"]:
            for events in self._pieces(span):
                counts += np.bincount(events.units, minlength=n_units)
                if events.amplitudes is not None and n_levels > 1:
                    amplitudes.append(events.amplitudes)
        levels = {}
        if amplitudes:
            pooled = np.concatenate(amplitudes)
            if code == "vector_quantised" and pooled.min() <= 0:
                raise UserError(
                    f"{self.session.path}: has events of amplitude {pooled.min():g}; data.level_code=vector_quantised "
                    "goes by their logarithm; expected amplitudes above 0, or use data.level_code=quantile"
                )
            edges = LEVEL_EDGES[code](pooled, n_levels)
            level = np.searchsorted(edges, pooled, side="right")
            levels = {
                "level_edges": edges,
                "level_amplitudes": np.array([np.median(pooled[level == k]) for k in range(len(edges) + 1)]),
                "level_counts": np.bincount(level, minlength=len(edges) + 1),
            }
        ids = self.session.units.get("id")
        return SessionEntry(
            session_id=self.session_id,
            n_units=n_units,
            train_counts=counts,
            train_bins=sum(len(s) for s in self.spans["train"]),
            unit_ids=tuple(map(str, ids if ids is not None else range(n_units))),
            **levels,
        )


def _key(epoch: int, edges: np.ndarray | None) -> tuple[int, bytes]:
    """What tokens depend on beside the events."""
    return epoch, b"" if edges is None else edges.tobytes()


def _pad_before(found: Binned, n_bins: int) -> Binned:
    """With `n_bins` unknown bins before it, those before the epoch's start."""
    if n_bins == 0:
        return found
    values = np.concatenate([np.zeros((n_bins, *found.values.shape[1:]), found.values.dtype), found.values])
    return Binned(values=values, known=np.concatenate([np.zeros(n_bins, bool), found.known]))
