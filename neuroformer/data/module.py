"""The DataModule: session files → batches for training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import lightning as L
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from neuroformer.batch import Batch
from neuroformer.data import open_sessions
from neuroformer.data.collate import collate
from neuroformer.data.recording import Recording
from neuroformer.data.sampler import ChunkKey, PassSampler
from neuroformer.data.splits import Part, Span
from neuroformer.data.token_file import TokenFile, has_room, row_type
from neuroformer.data.variable_entries import check_entry, learn_variable
from neuroformer.data.vocabulary import SessionEntry, Vocabulary
from neuroformer.errors import UserError
from neuroformer.settings.data import DataConfig

_KEPT_EVENTS = 1_000_000  # of all sessions: so many stay in memory (14 MB); more go to a `TokenFile`


def find_sessions(patterns: Sequence[str]) -> list[Path]:
    """Session files that match, sorted within each pattern, each once.

    Raises:
        UserError: nothing was named, or a name matches no file.
    """
    if not patterns:
        raise UserError("data.sessions is empty; name session files, such as 'data.sessions=[sessions/*.h5]'")
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        matches = sorted(glob(pattern)) if has_magic(pattern) and not path.exists() else [pattern]  # noqa: PTH207
        if not matches:
            raise UserError(f"data.sessions: no file matches {pattern!r} in {Path.cwd()}; check the name")
        found.update(dict.fromkeys(map(Path, matches)))
    return list(found)


class _Batches(Dataset[Batch]):
    """Reads the chunks of a batch by their keys; picklable, so that workers under fork and spawn can have it."""

    def __init__(self, recordings: Sequence[Recording], vocabulary: Vocabulary, history: int) -> None:
        self.recordings, self.vocabulary, self.history = recordings, vocabulary, history

    def __getitem__(self, keys: list[ChunkKey]) -> Batch:
        chunks = []
        for key in keys:
            recording = self.recordings[key.recording]
            edges = self.vocabulary[recording.session_id].level_edges
            chunks.append(recording.chunk(key.span, self.history, edges))
        return collate(chunks, self.vocabulary)


class RecordingsModule(L.LightningDataModule):
    """Chunks of many sessions.

    Args:
        config: what to read and how.
        context_bins: bins of the past that the model looks at.
        batches_per_epoch: training steps between two validations.
        vocabulary: a vocabulary to use and, with new sessions, to extend; by default a new one.
        grow: whether sessions that the given vocabulary lacks are added; otherwise they are refused.
    """

    def __init__(
        self,
        *,
        config: DataConfig,
        context_bins: int,
        batches_per_epoch: int = 100,
        vocabulary: Vocabulary | None = None,
        grow: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        self.config = config
        self.context_bins = context_bins
        self.batches_per_epoch = batches_per_epoch
        self._done = (0, 0)
        self._n_events = 0
        self._stored = False
        self.vocabulary = Vocabulary(bin_s=config.bin_s) if vocabulary is None else vocabulary
        if abs(self.vocabulary.bin_s - config.bin_s) > 1e-12:
            raise UserError(
                f"data.bin_s={config.bin_s:g}: the model was trained on bins of {self.vocabulary.bin_s:g} s; "
                "use the same width"
            )
        self.recordings: list[Recording] = []
        entries: dict[str, SessionEntry] = {}
        paths = find_sessions(config.sessions)
        for path in paths:
            recording = Recording(
                path,
                bin_s=config.bin_s,
                split=config.split,
                context_bins=context_bins,
                variables=config.variables,
                labels=config.labels,
            )
            self.recordings.append(recording)
            # All that is wanted of a file while it is open: with a thousand of them, opening is most of the work.
            self._n_events += recording.session.n_events
            name = recording.session_id
            if grow and name not in self.vocabulary and name not in entries:
                entries[name] = recording.entry(config.levels, config.level_code)
            if len(paths) > open_sessions.MOST:
                recording.session.close()
        for recording in self.recordings:
            recording.keep_tokens = self._n_events <= _KEPT_EVENTS
        self._learn_variables(grow)
        seen: dict[str, Path] = {}
        for recording in self.recordings:
            name, path = recording.session_id, Path(recording.session.path)
            if name in seen:
                raise UserError(
                    f"{path}: session_id {name!r} is also that of {seen[name]}; give every session its own"
                )
            seen[name] = path
            if name in entries:
                self.vocabulary.add(entries[name])
            entry = self.vocabulary[name]
            if entry.n_units != recording.session.n_units:
                raise UserError(
                    f"{path}: {recording.session.n_units} units, but the model knows session {name!r} with "
                    f"{entry.n_units}; use the file that the model was trained on, or give it another session_id"
                )

    def _learn_variables(self, grow: bool) -> None:
        known = self.vocabulary.variables
        for name, config in self.config.variables.items():
            if name not in known and grow:
                known[name] = learn_variable(name, config, self.recordings)
            for recording in self.recordings:
                if name in known and name in recording.variables:
                    check_entry(known[name], recording.variables[name])
                    recording.variables[name].use_labels(known[name].labels)

    def in_order(
        self, part: Part, recordings: Sequence[Recording] | None = None
    ) -> Iterator[tuple[list[ChunkKey], Batch]]:
        """Batches of a part that score every bin once, in order, each bin with the whole context before it.

        Args:
            part: which part.
            recordings: by default all.

        Yields:
            The spans of the rows (their `recording` counts within `recordings`) and the batch.
        """
        recordings = self.recordings if recordings is None else recordings
        keys = self._keys(part, recordings)
        yield from zip(keys, self._loader(recordings, keys, self.context_bins), strict=True)

    def batches_of(self, recording: Recording, spans: Sequence[Span]) -> Iterator[Batch]:
        """Batches of one row each that score the given spans, with the whole context before them."""
        keys = [[ChunkKey(recording=0, span=span)] for span in spans]
        yield from self._loader([recording], keys, self.context_bins)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training chunks."""
        config = self.config
        if config.workers == 0 and self._n_events > _KEPT_EVENTS:
            self._store_tokens()
        sampler = PassSampler(
            recordings=self.recordings,
            chunk_bins=max(1, round(config.chunk_s / config.bin_s)),
            batch_size=config.batch_size,
            batches_per_epoch=self.batches_per_epoch,
            seed=config.seed,
            done=self._done,
        )
        return self._loader(self.recordings, sampler, round(config.warmup_s / config.bin_s))

    def _store_tokens(self) -> None:
        """Put all tokens where chunks at random places are read at once; where there is no room, leave it."""
        most = max(recording.session.n_units for recording in self.recordings)
        short = all(epoch.n_bins < 2**31 for recording in self.recordings for epoch in recording.epochs)
        if self._stored or not short or not has_room(self._n_events * row_type(most).itemsize):
            return
        self._stored = True
        try:
            file = TokenFile()
            for recording in self.recordings:
                recording.store_tokens(file, self.vocabulary[recording.session_id].level_edges)
                if len(self.recordings) > open_sessions.MOST:
                    recording.session.close()
        except OSError:
            for recording in self.recordings:
                recording.drop_stored()

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation bins, each once; several processes share the batches, see `val_batches`."""
        keys = self._keys("val", self.recordings)
        if dist.is_initialized():
            # As many for each, since they must keep step: past the last one there is, it comes again, uncounted.
            rank, world = dist.get_rank(), dist.get_world_size()
            keys = [keys[min(k, len(keys) - 1)] for k in range(rank, len(keys) + (-len(keys)) % world, world)]
        return self._loader(self.recordings, keys, self.context_bins)

    @property
    def val_batches(self) -> int:
        """Batches that hold every validation bin once; batch i of process r of W is number i · W + r of them."""
        return len(self._keys("val", self.recordings))

    def state_dict(self) -> dict[str, Any]:
        """Where the order of the training chunks has come to, for the checkpoint."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        epoch: int = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        return {"epoch": epoch, "batches": loop.epoch_loop.batch_progress.current.ready}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on in the order of the training chunks."""
        done = state_dict["batches"]
        self._done = (state_dict["epoch"], done if done < self.batches_per_epoch else 0)

    def _keys(self, part: Part, recordings: Sequence[Recording]) -> list[list[ChunkKey]]:
        # Long pieces: what is read and computed for the context is spent once per piece.
        size = max(round(self.config.chunk_s / self.config.bin_s), 2 * self.context_bins)
        keys = [
            ChunkKey(recording=i, span=span)
            for i, r in enumerate(recordings)
            for span in r.tiles(part, size, shift=size)
        ]
        rows = max(1, self.config.batch_size // 2)
        return [keys[i : i + rows] for i in range(0, len(keys), rows)]

    def _loader(
        self, recordings: Sequence[Recording], batches: PassSampler | list[list[ChunkKey]], history: int
    ) -> DataLoader[Batch]:
        workers = self.config.workers
        # Whole batches are the loader's samples: Lightning calls `set_epoch` of a loader's `sampler`, never that of its
        # `batch_sampler`, and without the call every epoch would repeat the first.
        return DataLoader(
            _Batches(recordings, self.vocabulary, history),
            sampler=batches,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers > 0 else None,
        )
