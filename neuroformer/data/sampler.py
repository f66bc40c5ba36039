"""Which chunks form batch number k: a pure function of (seed, k), so that a resumed run sees the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from neuroformer.data.recording import Recording
from neuroformer.data.splits import Span


@dataclass(frozen=True, kw_only=True)
class ChunkKey:
    """A chunk to read: which recording and which bins."""

    recording: int
    span: Span


class PassSampler(Sampler[list[ChunkKey]]):
    """Batches of training chunks; every pass over the data visits every training bin once.

    Each pass cuts the spans at other places and shuffles the chunks of all sessions together. One iteration
    yields the batches of one training epoch of `batches_per_epoch` steps; `set_epoch` (called by Lightning) picks which. In a
    distributed run each rank takes its share of every batch.

    Args:
        recordings: all recordings.
        chunk_bins: scored bins of a chunk.
        batch_size: chunks in a batch over all ranks.
        batches_per_epoch: steps between two validations.
        seed: seed of cuts and order.
    """

    def __init__(
        self,
        *,
        recordings: Sequence[Recording],
        chunk_bins: int,
        batch_size: int,
        batches_per_epoch: int,
        seed: int,
    ) -> None:
        """See the class."""
        self.recordings = recordings
        self.chunk_bins = chunk_bins
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.seed = seed
        self.epoch = 0
        self._pass: tuple[int, list[ChunkKey]] = (-1, [])

    def set_epoch(self, epoch: int) -> None:
        """Choose the training epoch that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches in one iteration."""
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[ChunkKey]]:
        """Batches of the current epoch, this rank's share of each."""
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        first = self.epoch * self.batches_per_epoch
        for k in range(first, first + self.batches_per_epoch):
            yield self.batch(k)[rank::world]

    def batch(self, k: int) -> list[ChunkKey]:
        """All chunks of batch k of the run."""
        # Passes differ a little in their number of chunks; a fixed length keeps batch k computable without the
        # passes before it. Chunks past that length wait for another pass.
        per_pass = max(1, sum(self._pieces(r) for r in self.recordings) // self.batch_size)
        number, position = divmod(k, per_pass)
        keys = self._keys_of_pass(number)
        picked = np.arange(position * self.batch_size, (position + 1) * self.batch_size) % len(keys)
        return [keys[i] for i in picked]

    def _pieces(self, recording: Recording) -> int:
        return sum(max(1, len(s) // self.chunk_bins) for s in recording.part("train"))

    def _keys_of_pass(self, number: int) -> list[ChunkKey]:
        if self._pass[0] != number:
            rng = np.random.default_rng([self.seed, number])
            keys = [
                ChunkKey(recording=i, span=span)
                for i, recording in enumerate(self.recordings)
                for span in recording.tiles(
                    "train", self.chunk_bins, shift=int(rng.integers(1, self.chunk_bins + 1))
                )
            ]
            self._pass = (number, [keys[i] for i in rng.permutation(len(keys))])
        return self._pass[1]
