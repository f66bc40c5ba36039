"""Which chunks form batch number k: a pure function of (seed, k), so that a resumed run sees the same batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from neuroformer.data.recording import Recording
from neuroformer.data.splits import Span
from neuroformer.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ChunkKey:
    """A chunk to read: which recording and which bins."""

    recording: int
    span: Span


class PassSampler(Sampler[list[ChunkKey]]):
    """Batches of training chunks, drawn from one pass over the data after another.

    Every pass visits every training bin once: it cuts the spans at places of its own and shuffles the chunks of all
    sessions together. A batch may hold the end of one pass and the start of the next. One iteration yields the
    batches of one training epoch of `batches_per_epoch` steps; `set_epoch` (called by Lightning) picks which. In a
    distributed run each rank takes its share of every batch, so that no chunk is read twice, and reads nothing else of
    the files.

    Args:
        recordings: all recordings.
        chunk_bins: scored bins of a chunk.
        batch_size: chunks in a batch over all ranks.
        batches_per_epoch: steps between two validations.
        seed: seed of cuts and order.
        done: an epoch and the number of its batches that were seen before the run was interrupted.
    """

    def __init__(
        self,
        *,
        recordings: Sequence[Recording],
        chunk_bins: int,
        batch_size: int,
        batches_per_epoch: int,
        seed: int,
        done: tuple[int, int] = (0, 0),
    ) -> None:
        """See the class."""
        self.done = done
        self.recordings = recordings
        self.chunk_bins = chunk_bins
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.seed = seed
        self.epoch = done[0]  # workers begin to read ahead before `set_epoch` is first called
        self._pass: tuple[int, np.ndarray] = (-1, np.zeros((0, 4), np.int64))
        self._starts = [0]  # chunks before each pass; they differ, as the cuts do

    def set_epoch(self, epoch: int) -> None:
        """Choose the training epoch that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches in one iteration."""
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[ChunkKey]]:
        """Batches of the current epoch, this rank's share of each.

        Raises:
            UserError: a batch has fewer chunks than there are ranks.
        """
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if self.batch_size < world:
            raise UserError(
                f"data.batch_size={self.batch_size}: expected at least one chunk for each of {world} processes"
            )
        first = self.epoch * self.batches_per_epoch
        skip = self.done[1] if self.epoch == self.done[0] else 0
        for k in range(first + skip, first + self.batches_per_epoch):
            yield self.batch(k)[rank::world]

    def batch(self, k: int) -> list[ChunkKey]:
        """All chunks of batch k of the run."""
        first, stop = k * self.batch_size, (k + 1) * self.batch_size
        while self._starts[-1] < stop:
            self._starts.append(self._starts[-1] + len(self._chunks_of_pass(len(self._starts) - 1)))
        keys = []
        for position in range(first, stop):
            number = bisect_right(self._starts, position) - 1
            recording, epoch, start, end = self._chunks_of_pass(number)[
                position - self._starts[number]
            ].tolist()
            keys.append(ChunkKey(recording=recording, span=Span(epoch=epoch, start=start, stop=end)))
        return keys

    def _chunks_of_pass(self, number: int) -> np.ndarray:
        """(chunks, 4) recording, epoch, first and last bin; as numbers, since there are 48,000 in 10 h."""
        if self._pass[0] != number:
            rng = np.random.default_rng([self.seed, number])
            chunks = np.concatenate(
                [
                    np.insert(
                        recording.cuts(
                            "train", self.chunk_bins, shift=int(rng.integers(1, self.chunk_bins + 1))
                        ),
                        0,
                        i,
                        axis=1,
                    )
                    for i, recording in enumerate(self.recordings)
                ]
            )
            self._pass = (number, chunks[rng.permutation(len(chunks))])
        return self._pass[1]
