"""Which labels of the training part are used: the learning curve's horizontal axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuroformer.data.splits import Span
from neuroformer.settings.variables import LabelsConfig

if TYPE_CHECKING:
    from neuroformer.data.recording import Recording


def label_mask(recording: Recording, labels: LabelsConfig) -> list[np.ndarray]:
    """Training bins whose labels are not used.

    One stretch of known labels is kept, counted in bins in which any decoded variable is known, with all pauses in it;
    labels of validation and test are not touched.

    Returns:
        For each epoch (bins,) bool.
    """
    taken = [np.zeros(epoch.n_bins, bool) for epoch in recording.epochs]
    decoded = [name for name, reader in recording.variables.items() if reader.config.role != "context"]
    if not decoded or (labels.minutes is None and labels.fraction is None and not labels.when):
        return taken
    spans = recording.spans["train"]
    known = [_known(recording, decoded, span, labels.when) for span in spans]
    flat = np.concatenate(known)
    total = int(flat.sum())
    wanted = total
    if labels.fraction is not None:
        wanted = round(labels.fraction * total)
    elif labels.minutes is not None:
        wanted = round(labels.minutes * 60 / recording.bin_s)
    wanted = min(wanted, total)
    first = 0
    if labels.start == "random" and total > wanted:
        first = int(np.random.default_rng(labels.seed).integers(0, total - wanted + 1))
    order = np.cumsum(flat)  # number of known bins up to and including each
    used = (order > first) & (order <= first + wanted) & (flat if labels.when else True)
    offset = 0
    for span in spans:
        taken[span.epoch][span.start : span.stop] = ~used[offset : offset + len(span)]
        offset += len(span)
    return taken


def _known(recording: Recording, names: list[str], span: Span, when: str) -> np.ndarray:
    found = np.zeros(len(span), bool)
    for name in names:
        found |= recording.variable(name, span, all_labels=True).known
    if when:
        found &= recording.variables[names[0]].holds(
            when, recording.epochs[span.epoch], span.start, span.stop
        )
    return found
