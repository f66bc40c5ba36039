"""Settings of `neuroformer ablation`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.training import PretrainConfig
from neuroformer.settings.variables import CONDITION


@dataclass(kw_only=True)
class AblationConfig(PretrainConfig):
    """Train a model without each of its parts and say what each is worth.

    The settings are those of a pretrain run, the full model, and a few more. Finished variants whose settings have not
    changed are kept, so that an interrupted ablation goes on where it was.
    """

    variants: list[str] = field(default_factory=list)
    """Which variants, beside the full model; by default all that the settings allow: events_only, plus_NAME for every
    input variable, encode_only, decode_only, no_alignment or with_alignment, no_trunk. On request also without_NAME."""
    seeds: int = 1
    """Runs of every variant, with seeds seed, seed + 1, …; scores are averaged, and their spread is given."""
    part: Literal["test", "val"] = "test"
    """Part of the recordings that is scored."""
    when: str = ""
    """Condition that a bin must meet to count where behaviour is asked for (`where known`, errors), such as
    'abs(velocity) > 5' in the unit of the files."""
    block_s: float = 5.0
    """Seconds drawn together in the bootstrap; longer than the activity's and the behaviour's memory."""
    alignment_weight: float = 0.1
    """Weight of the alignment in `with_alignment`, the variant of a full model that does not align."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.resume is not None:
            raise ValueError(
                f"resume={self.resume}: an ablation goes on by itself: give the same out=, and resume=null"
            )
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds}: expected 1 or more")
        if self.when and not CONDITION.fullmatch(self.when):
            raise ValueError(f"when={self.when!r}: expected a condition such as 'abs(velocity) > 5'")
        if not self.block_s > 0:
            raise ValueError(f"block_s={self.block_s:g}: expected seconds above 0")
        if not self.alignment_weight > 0:
            raise ValueError(f"alignment_weight={self.alignment_weight:g}: expected a number above 0")
