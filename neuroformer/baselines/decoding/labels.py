"""How much of the labelled time is used: contiguous, as a lab that stops labelling early has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuroformer.errors import UserError


def labelled_subset(
    known: Sequence[np.ndarray],
    *,
    bin_s: float,
    minutes: float | None = None,
    fraction: float | None = None,
    seed: int | None = None,
    name: str = "labels",
) -> list[np.ndarray]:
    """Keep a run of labelled time: so many labelled bins in a row, whatever lies unlabelled between them.

    Args:
        known: (T,) booleans of each stretch, in order of time: which bins have labels to train on.
        bin_s: width of a bin in seconds.
        minutes: labelled time to keep, in minutes.
        fraction: the same as a part of all labelled time; give one of the two.
        seed: None keeps the first of it; a number lets the run begin at a labelled bin drawn at random, late enough
            to be whole.
        name: of the target, for messages.

    Returns:
        (T,) booleans of each stretch, true on ⌈·⌉ of the bins asked for, at least one.

    Raises:
        UserError: not one of `minutes` and `fraction` is given, it is out of range, or there is less labelled time.
    """
    total = int(sum(np.count_nonzero(mask) for mask in known))
    if (minutes is None) == (fraction is None):
        raise UserError(f"{name}: give minutes or fraction of labelled time, one of them")
    if not total:
        raise UserError(f"{name}: no labelled bin in the training part")
    if minutes is not None:
        if not minutes > 0:
            raise UserError(f"{name}: minutes={minutes:g}: expected a number above 0")
        wanted = max(1, int(np.ceil(minutes * 60 / bin_s - 1e-6)))
        if wanted > total:
            raise UserError(
                f"{name}: minutes={minutes:g}, and the training part has {total * bin_s / 60:.3g} labelled minutes; "
                "ask for fewer"
            )
    else:
        assert fraction is not None
        if not 0 < fraction <= 1:
            raise UserError(f"{name}: fraction={fraction:g}: expected a number above 0, at most 1")
        wanted = max(1, int(np.ceil(fraction * total - 1e-6)))
    first = 0 if seed is None else int(np.random.default_rng(seed).integers(total - wanted + 1))
    found, before = [], 0
    for mask in known:
        mask = np.asarray(mask, dtype=bool)
        number = before + np.cumsum(mask) - 1
        found.append(mask & (number >= first) & (number < first + wanted))
        before += int(mask.sum())
    return found
