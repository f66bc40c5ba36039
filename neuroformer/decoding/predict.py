"""Everything that a model says of the behaviour in a part of a session, stretch by stretch.

Legend: T bins of a stretch, G cells of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuroformer.data import Recording, RecordingsModule, Span
from neuroformer.data.grid import Grid
from neuroformer.data.variables import Binned
from neuroformer.inversion.likelihood import grid_log_likelihood
from neuroformer.model import Neuroformer
from neuroformer.model.readout import Decoded


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """A contiguous stretch of a session as the model sees it.

    Attributes:
        span: its bins.
        time: (T,) middle of each bin, seconds.
        truth: the decoded variables, all labels known.
        readout: what the readouts say by variable, (T, …) arrays as in `Decoded`.
        log_likelihood: (T, G) or (T, G + 1) log p(events of the bin | cell, past), or None without a grid.
    """

    span: Span
    time: np.ndarray
    truth: dict[str, Binned]
    readout: dict[str, Decoded]
    log_likelihood: np.ndarray | None


@torch.no_grad()
def predict(
    model: Neuroformer,
    data: RecordingsModule,
    recording: Recording,
    spans: Sequence[Span],
    grid: Grid | None,
    *,
    unknown: bool = False,
) -> list[Stretch]:
    """Run the model over spans of a session; every bin has its whole context before it.

    Args:
        model: in evaluation mode.
        data: that the recording belongs to.
        recording: the session.
        spans: contiguous stretches.
        grid: that is inverted, if any.
        unknown: whether log-likelihoods have a last column for behaviour that is not known.
    """
    found = []
    size = max(1, 2 * data.context_bins, round(data.config.chunk_s / data.config.bin_s))
    for span in spans:
        pieces = [
            Span(epoch=span.epoch, start=a, stop=min(a + size, span.stop))
            for a in range(span.start, span.stop, size)
        ]
        outputs: list[dict[str, Decoded]] = []
        grids: list[np.ndarray] = []
        for batch in data.batches_of(recording, pieces):
            outputs.append(model.decode(batch))
            if grid is not None:
                grids.append(grid_log_likelihood(model, batch, grid, unknown=unknown)[0].double().numpy())
        epoch = recording.epochs[span.epoch]
        found.append(
            Stretch(
                span=span,
                time=np.asarray(epoch.time_of(np.arange(span.start, span.stop) + 0.5)),
                truth={
                    name: recording.variable(name, span, all_labels=True)
                    for name, shape in model.variables.items()
                    if shape.is_decoded and name in recording.variables
                },
                readout={
                    name: _joined([o[name] for o in outputs]) for name in (outputs[0] if outputs else {})
                },
                log_likelihood=np.concatenate(grids) if grids else None,
            )
        )
    return found


def _joined(parts: list[Decoded]) -> Decoded:
    def cat(name: str) -> torch.Tensor | None:
        tensors = [getattr(part, name) for part in parts]
        return None if tensors[0] is None else torch.cat([t[0] for t in tensors])

    return Decoded(mean=cat("mean"), spread=cat("spread"), log_probability=cat("log_probability"))
