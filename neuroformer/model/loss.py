"""The loss as sums over chunks, so that what several processes find adds up to the loss of all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LossSums:
    """What the chunks of a batch bring to the loss.

    Attributes:
        cells: () log-likelihood of the events and silences of the scored cells, nats.
        levels: () log-likelihood of the amplitude levels of the scored events, nats.
        kl: () nats, the chunks' share of their sessions' priors.
        n_labels: labels that were to be found.
        decode: () log-likelihood of the labels, nats; None where there is none to find.
        align: () loss of the alignment, already a mean; None where there is none.
    """

    cells: Tensor
    levels: Tensor
    kl: Tensor
    n_labels: int = 0
    decode: Tensor | None = None
    align: Tensor | None = None

    def parts(self, *, events: float, labels: float) -> dict[str, Tensor]:
        """`nll` (events), `level_nll` and `kl`, each per event, `decode_nll` per label and `align`, if there are any.

        Args:
            events: what the first three are divided by.
            labels: what the fourth is divided by.
        """
        found = {"nll": -self.cells / events, "level_nll": -self.levels / events, "kl": self.kl / events}
        if self.decode is not None:
            found["decode_nll"] = -self.decode / labels
        if self.align is not None:
            found["align"] = self.align
        return found


def weighed(parts: dict[str, Tensor], *, decode: float, align: float) -> Tensor:
    """The loss.

    Args:
        parts: from `LossSums.parts`.
        decode: weight of the labels.
        align: weight of the alignment.
    """
    total = parts["nll"] + parts["level_nll"] + parts["kl"]
    if "decode_nll" in parts:
        total = total + decode * parts["decode_nll"]
    if "align" in parts:
        total = total + align * parts["align"]
    return total
