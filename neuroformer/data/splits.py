"""Training, validation and test spans: blocked in time or by trial, with gaps that no history crosses.

A random split of bins leaks: the neighbours of test bins are in training, and so is what the test bins see as their
past. Here every span is contiguous, and between two spans of different parts lies a gap at least as long as
the model's context.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from neuroformer.data.clock import Epoch
from neuroformer.errors import UserError
from neuroformer.settings.data import SplitConfig

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Bins [start, stop) of one epoch of a session."""

    epoch: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Number of bins."""
        return self.stop - self.start


def split_epochs(
    epochs: list[Epoch], config: SplitConfig, *, context_bins: int, name: str
) -> dict[Part, list[Span]]:
    """Cut the epochs of one session into spans of the three parts.

    Args:
        epochs: the session's epochs.
        config: fractions and kind.
        context_bins: bins of the past that the model looks at; the least gap.
        name: the session's file or id, for messages.

    Returns:
        Spans by part, in order of time. No two parts share a bin; with kind `time` no bin within `context_bins`
        before a span of one part belongs to another part.

    Raises:
        UserError: a part would be empty.
    """
    if config.kind == "epochs":
        spans = _by_epoch(epochs, config, name)
    else:
        bin_s = epochs[0].bin_s
        if config.gap_s is not None and config.gap_s < context_bins * bin_s - 1e-9:
            raise UserError(
                f"data.split.gap_s={config.gap_s:g}: the model looks {context_bins * bin_s:g} s back, so that test "
                "bins would see training bins; raise gap_s or leave it out"
            )
        gap = context_bins if config.gap_s is None else int(np.ceil(config.gap_s / bin_s - 1e-6))
        spans = _by_time(epochs, config, gap)
    for part in PARTS:
        if not spans[part]:
            total = sum(e.n_bins for e in epochs) * epochs[0].bin_s
            cure = (
                "a session with more epochs, smaller data.split.val and data.split.test, or data.split.kind=time"
                if config.kind == "epochs"
                else "a longer recording, other fractions in data.split, fewer data.split.blocks, or a shorter context"
            )
            raise UserError(
                f"{name}: no bin is left for {part!r} in {len(epochs)} epoch(s) of {total:g} s in all; use {cure}"
            )
    return spans


def _by_epoch(epochs: list[Epoch], config: SplitConfig, name: str) -> dict[Part, list[Span]]:
    named = {
        part: _named(numbers, len(epochs), f"data.split.{part}_epochs", name)
        for part, numbers in (("val", config.val_epochs), ("test", config.test_epochs))
    }
    both = sorted(set(named["val"]) & set(named["test"]))
    if both:
        raise UserError(
            f"{name}: data.split.val_epochs and test_epochs share epoch {both[0]}; give it to one of them"
        )
    taken = named["val"] + named["test"]
    order = np.random.default_rng(config.seed).permutation(len(epochs))
    order = order[~np.isin(order, taken)]
    n_test = max(1, round(config.test * len(epochs)))
    n_val = max(1, round(config.val * len(epochs)))
    test = np.array(named["test"], int) if named["test"] else order[:n_test]
    order = order[~np.isin(order, test)]
    val = np.array(named["val"], int) if named["val"] else order[:n_val]
    chosen: dict[Part, np.ndarray] = {"test": test, "val": val, "train": order[~np.isin(order, val)]}
    return {
        part: [Span(epoch=int(i), start=0, stop=epochs[i].n_bins) for i in sorted(chosen[part])]
        for part in PARTS
    }


def _named(numbers: list[int], n: int, setting: str, name: str) -> list[int]:
    for number in numbers:
        if not -n <= number < n:
            raise UserError(
                f"{name}: {setting} names epoch {number}, the session has {n} (0 to {n - 1}, or -1 back)"
            )
    return sorted({number % n for number in numbers})


def _by_time(epochs: list[Epoch], config: SplitConfig, gap: int) -> dict[Part, list[Span]]:
    """Lay the epochs end to end; in each block: train, gap, val, gap, test, gap."""
    offsets = np.concatenate(([0], np.cumsum([e.n_bins for e in epochs])))
    spans: dict[Part, list[Span]] = {part: [] for part in PARTS}
    edges = np.linspace(0, offsets[-1], config.blocks + 1).round().astype(int)
    for block, (lo, hi) in enumerate(pairwise(edges)):
        size = hi - lo
        test_lo = hi - round(config.test * size)
        val_lo = test_lo - round(config.val * size)
        # The gap comes off the part before it; a last block needs none behind its test.
        after_test = gap if block < config.blocks - 1 else 0
        bounds: dict[Part, tuple[int, int]] = {
            "train": (lo, val_lo - gap),
            "val": (val_lo, test_lo - gap),
            "test": (test_lo, hi - after_test),
        }
        for part in PARTS:
            start, stop = bounds[part]
            for i, epoch in enumerate(epochs):
                a, b = max(start, offsets[i]), min(stop, offsets[i] + epoch.n_bins)
                if b > a:
                    spans[part].append(Span(epoch=i, start=int(a - offsets[i]), stop=int(b - offsets[i])))
    return spans
