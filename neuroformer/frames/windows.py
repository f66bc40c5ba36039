"""Windows of frames: drawn for training, laid over a stretch for prediction and averaged.

Legend: T bins of a stretch, W frames of a window, N units, D numbers of all targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from neuroformer.frames.session import Stretch

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From frames (B, W, N) and whether each was seen (B, W) to predictions (B, W, D)."""


def draw_windows(
    stretches: Sequence[Stretch], size: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Endless batches (x, seen, y, known) of windows that begin anywhere, each stretch as often as it is long.

    A stretch shorter than a window is used whole, with unseen frames before it.
    """
    starts = [(k, s) for k, stretch in enumerate(stretches) for s in range(max(1, len(stretch) - size + 1))]
    padded = [_padded(stretch, max(0, size - len(stretch))) for stretch in stretches]
    while True:
        order = rng.permutation(len(starts))
        order = np.resize(
            order, -(-len(order) // batch) * batch
        )  # the last batch is filled from the first windows
        for rows in order.reshape(-1, batch):
            picked = [[a[starts[i][1] : starts[i][1] + size] for a in padded[starts[i][0]]] for i in rows]
            x, seen, y, known = (np.stack(arrays) for arrays in zip(*picked, strict=True))
            yield x, seen, y, known


def _padded(stretch: Stretch, missing: int) -> tuple[np.ndarray, ...]:
    """The stretch without its lead-in, with `missing` unseen frames before it."""
    arrays = (stretch.x[stretch.lead :], stretch.seen[stretch.lead :], stretch.y, stretch.known)
    return tuple(np.concatenate([np.zeros((missing, *a.shape[1:]), a.dtype), a]) for a in arrays)


def led_frames(stretch: Stretch, before: int, after: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames (before + T + after, N) and whether seen: unseen ones where the lead-in is short, and behind the end."""
    short = max(0, before - stretch.lead)
    first = max(0, stretch.lead - before)
    x = np.pad(stretch.x[first:], ((short, after), (0, 0)))
    return x, np.pad(stretch.seen[first:], (short, after))


def predict_stretch(
    predict: Predict, stretch: Stretch, size: int, *, last: bool = False, stride: int = 1, batch: int = 64
) -> np.ndarray:
    """(T, D) predictions of every bin of a stretch.

    Args:
        predict: the model.
        stretch: what to predict; its lead-in is looked at.
        size: W.
        last: whether a bin's prediction is that of the window which ends with it, instead of the mean over all that
            hold it.
        stride: bins between the starts of windows; with `last` always 1.
        batch: windows at once.
    """
    lead, n = size - 1, len(stretch)
    x, seen = led_frames(stretch, lead)
    starts = np.arange(n)
    if not last and stride > 1:
        starts = np.unique(np.append(np.arange(0, n, stride), n - 1))  # the last one holds the last bin
    total: np.ndarray | None = None
    count = np.zeros(len(x))
    for rows in np.split(starts, np.arange(batch, len(starts), batch)):
        found = predict(
            np.stack([x[s : s + size] for s in rows]), np.stack([seen[s : s + size] for s in rows])
        )
        if total is None:
            total = np.zeros((len(x), found.shape[-1]))
        for s, values in zip(rows, found, strict=True):
            inside = slice(s + size - 1, s + size) if last else slice(s, s + size)
            total[inside] += values[-1:] if last else values
            count[inside] += 1
    assert total is not None
    return total[lead:] / count[lead:, None]
