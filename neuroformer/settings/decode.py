"""Settings of `neuroformer decode`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.decoding import DecodersConfig
from neuroformer.settings.variables import CONDITION

OURS = ("readout", "inversion", "inversion_causal", "combined")
BASELINES = ("null", "ridge", "kalman", "naive_bayes", "naive_bayes_motion", "logistic", "gru")


@dataclass(kw_only=True)
class DecodeConfig:
    """Decode behaviour from events with a trained model, beside baselines with the same labels, and score it.

    Methods: readout (the discriminative head; events up to the bin), inversion (the encoder turned round by Bayes on a
    grid of behaviour, with a learned motion prior; later events too), inversion_causal (events up to the bin) and
    combined (what the readout says counts as evidence as well).
    """

    run: str
    """Folder of a pretrain or fine-tune run."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    sessions: list[str] = field(default_factory=list)
    """Session files; by default those that the run was trained on. Wildcards are allowed."""
    part: Literal["test", "val"] = "test"
    """Part of the recordings that is decoded and scored. On `val` nothing is left to calibrate spreads or to choose the
    weight of the readout on: spreads stay as they are, and the weight is 0.1."""
    variables: list[str] = field(default_factory=list)
    """Decoded variables; by default all."""
    methods: list[str] = field(default_factory=lambda: list(OURS))
    """Of ours: readout, inversion, inversion_causal, combined. The last three need role=both."""
    baselines: list[str] = field(default_factory=lambda: ["null", "ridge", "naive_bayes"])
    """Fitted to the labels of the run's training part: null, ridge, kalman, naive_bayes, naive_bayes_motion, logistic,
    gru; one that cannot decode a variable is left out of its table."""
    when: str = ""
    """Condition that a bin must meet for its label to be scored, calibrated on, and fitted to by the baselines, such as
    'abs(velocity) > 5' in the unit of the files."""
    smooth: bool = True
    """Whether `inversion` and `combined` use the events after a bin too; if not, `inversion` is `inversion_causal`."""
    calibrate: bool = True
    """Whether spreads are scaled so that 80 % intervals cover 80 % of the labels of the validation part."""
    leak_check: bool = True
    """Whether a baseline is scored under a random split of bins too, to show by how much that inflates a score."""
    block_s: float = 5.0
    """Seconds of the blocks of time that are drawn for the intervals."""
    draws: int = 1000
    """Draws of blocks."""
    window_s: float = 60.0
    """Longest stretch of time in the figures."""
    shown: int = 4
    """Sessions whose behaviour is drawn."""
    decoders: DecodersConfig = field(default_factory=DecodersConfig)
    """Settings of the baselines."""
    out: str | None = None
    """Folder of the results; by default RUN/decode."""
    overwrite: bool = False
    """Replace finished results in `out`."""
    seed: int = 0
    """Seed of draws, of the random split, and of baselines that have one."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        for setting, names, known in (
            ("methods", self.methods, OURS),
            ("baselines", self.baselines, BASELINES),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{setting}: unknown {name!r}; expected any of {', '.join(known)}")
            if len(set(names)) < len(names):
                raise ValueError(f"{setting}={names}: expected each once")
        if not (self.methods or self.baselines):
            raise ValueError("methods, baselines: expected one or more")
        if self.when and not CONDITION.fullmatch(self.when):
            raise ValueError(f"when={self.when!r}: expected a condition such as 'abs(velocity) > 5'")
        for name in ("block_s", "window_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name):g}: expected seconds above 0")
        if self.draws < 100:
            raise ValueError(f"draws={self.draws}: expected 100 or more")
        if self.shown < 0 or self.seed < 0:
            raise ValueError(f"shown={self.shown}, seed={self.seed}: expected 0 or more")
