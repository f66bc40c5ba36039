"""Settings of `neuroformer fewshot`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.data import SplitConfig
from neuroformer.settings.decoding import DecodersConfig
from neuroformer.settings.variables import CONDITION

INVERTED = ("pretrained", "pretrained_causal", "pretrained_labels_only", "scratch")
READOUTS = ("readout", "readout_causal", "readout_scratch")
OURS = (*INVERTED, *READOUTS)
BASELINES = (
    "null",
    "ridge",
    "ridge_centered",
    "kalman",
    "naive_bayes",
    "naive_bayes_motion",
    "logistic",
    "gru",
)


@dataclass(kw_only=True)
class FewshotConfig:
    """The learning curve of a new animal: error against labels, of the pretrained model and of what a lab does today.

    Methods: pretrained (units inferred by Bayes with the prior and the motion learned on other animals, labels and
    unlabelled training time; all events of the test stretch), pretrained_causal (the same, from events up to each
    bin), pretrained_labels_only (without the unlabelled time), scratch (the same model that has seen no other
    animal), readout (linear, its weights with a prior learned on other animals, activity on both sides of a bin),
    readout_causal (the same, activity up to the bin), readout_scratch (as readout, no other animal), and the baselines
    null, ridge, ridge_centered (activity on both sides), kalman, naive_bayes, naive_bayes_motion, logistic, gru. A
    variable of the trial table is decoded and scored trial by trial.
    """

    run: str
    """Folder of the pretrain run."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    sessions: list[str]
    """Session files of animals that the run has not seen; wildcards are allowed."""
    out: str
    """Folder of the results; a run that was stopped goes on where it was."""
    overwrite: bool = False
    """Start anew where `out` has results."""
    targets: list[str] = field(default_factory=list)
    """Decoded variables to score; by default all."""
    fractions: list[float] = field(default_factory=lambda: [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0])
    """Labels used, as fractions of those of the training part; with 0 readouts alone say something."""
    minutes: list[float] = field(default_factory=list)
    """The same in minutes; if given, instead of fractions."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Of the stretch of labels: 0 takes the first in time, others one that begins at random."""
    when: str = ""
    """Condition for labels and scored bins, such as 'abs(velocity) > 5'."""
    methods: list[str] = field(default_factory=list)
    """Methods to compare; by default all of ours that the run can do, null, ridge, naive_bayes, naive_bayes_motion and
    logistic. Those named pretrained and scratch need a run that can be inverted (role=both), readouts one with
    linear_readout.enabled=true."""
    input: Literal["auto", "events", "traces"] = "auto"
    """What baselines read; `auto`: what the readouts read, else events."""
    rounds: int = 1
    """Rounds of expectation-maximisation over training time without labels; more of them drift."""
    split: SplitConfig | None = None
    """How the new sessions are split; by default as those of the run."""
    decoders: DecodersConfig = field(default_factory=DecodersConfig)
    """Settings of the baselines."""
    scale: float = 1.0
    """Errors are divided by this for the table and figure: 4.8 gives twentieths of a track of 96 cm."""
    scale_name: str = ""
    """Unit of the errors after that; by default the variable's."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in self.methods:
            if name not in (*OURS, *BASELINES):
                raise ValueError(
                    f"methods: unknown {name!r}; expected any of {', '.join((*OURS, *BASELINES))}"
                )
        if self.when and not CONDITION.fullmatch(self.when):
            raise ValueError(f"when={self.when!r}: expected a condition such as 'abs(velocity) > 5'")
        if any(not 0 <= value <= 1 for value in self.fractions):
            raise ValueError(f"fractions={self.fractions}: expected numbers from 0 to 1")
        if any(value < 0 for value in self.minutes):
            raise ValueError(f"minutes={self.minutes}: expected 0 or more")
        if not (self.seeds and (self.fractions or self.minutes)):
            raise ValueError("seeds, fractions: expected one or more of each")
        if self.rounds < 0 or self.scale <= 0:
            raise ValueError(f"rounds={self.rounds}, scale={self.scale:g}: expected 0 or more, and above 0")
