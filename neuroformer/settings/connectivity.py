"""Settings of `neuroformer connectivity`, and the names of its estimators."""

from __future__ import annotations

from dataclasses import dataclass, field

from neuroformer.errors import UsageError
from neuroformer.settings.glm import GLMConfig

MODEL_ESTIMATORS = ("adjusted_coupling", "coupling", "stimulation", "silencing")
"""Read from the model of a pretrain run."""
BLOCK_ESTIMATORS = ("self_attention", "attention_rollout", "attention_gradient")
"""Read from the transformer blocks of its trunk, if it has any."""
GLM_ESTIMATORS = ("poisson_glm", "wald_glm", "adjusted_glm", "group_lasso_glm", "ridge_glm")
"""Poisson GLMs, fitted to the training part of a session, penalty chosen on its validation part. poisson_glm has lag
kernels that it learns; wald_glm ranks its pairs in standard errors and not by size, adjusted_glm by the adjusted
read-out; the others have a kernel for every pair."""
CLASSICAL_ESTIMATORS = (
    "cross_correlation",
    "jittered_ccg",
    "directed_sttc",
    "partial_correlation",
    "transfer_entropy",
    "granger",
)
"""Computed from the counts of a whole session."""
ESTIMATORS = (*MODEL_ESTIMATORS, *BLOCK_ESTIMATORS, *GLM_ESTIMATORS, *CLASSICAL_ESTIMATORS)


@dataclass(kw_only=True)
class ConnectivityConfig:
    """Settings of ``neuroformer connectivity``."""

    run: str = ""
    """Folder of a pretrain run whose model is read out; empty for GLMs and classical methods alone."""
    data: list[str] = field(default_factory=list)
    """Session files; by default those that the run was trained on."""
    out: str = ""
    """Folder for the results; by default the folder `connectivity` inside the run."""
    overwrite: bool = False
    """Replace the results of a finished run in the same folder."""
    estimators: list[str] = field(default_factory=list)
    """By default all that the run and its model allow. With run=: adjusted_coupling, coupling, stimulation,
    silencing; with transformer blocks in its trunk: self_attention, attention_rollout, attention_gradient. Always:
    poisson_glm, wald_glm, adjusted_glm, group_lasso_glm, ridge_glm, cross_correlation, jittered_ccg, directed_sttc,
    partial_correlation, transfer_entropy, granger."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    bin_s: float | None = None
    """Width of a bin of the classical methods, and without run= of the GLMs, in seconds; by default the model's, or
    0.005 without one."""
    lags: int | None = None
    """Longest lag of the classical methods, and without run= of the GLMs, in bins; by default the model's coupling
    window, or 0.1 s without one."""
    q: float = 0.05
    """False-discovery rate at which each method calls pairs (Benjamini and Hochberg)."""
    surrogates: int = 20
    """Surrogates of the classical methods' nulls."""
    seed: int = 0
    """Seed of surrogates and bootstrap."""
    glm: GLMConfig = field(default_factory=GLMConfig)
    """How the Poisson GLM with learned kernels is fitted; its windows are the model's unless given here."""

    def __post_init__(self) -> None:
        """Check what depends on more than one key."""
        self.estimators = list(dict.fromkeys(self.estimators))
        for name in self.estimators:
            if name not in ESTIMATORS:
                raise UsageError(f"estimators: unknown {name!r}; expected any of {', '.join(ESTIMATORS)}")
            if name in (*MODEL_ESTIMATORS, *BLOCK_ESTIMATORS) and not self.run:
                raise UsageError(
                    f"estimators: {name} reads a trained model; add run=FOLDER of a pretrain run"
                )
        if not self.run and not self.data:
            raise UsageError(
                "run, data: both empty; name a pretrain run (run=FOLDER) or session files (data=[FILE,...])"
            )
        if not self.run and not self.out:
            raise UsageError(
                "out: empty; name the folder for the results (out=DIR), it is known only when run= is given"
            )
        if self.bin_s is not None and self.bin_s <= 0:
            raise UsageError(f"bin_s={self.bin_s:g}: expected seconds above 0")
        if self.lags is not None and self.lags < 1:
            raise UsageError(f"lags={self.lags}: expected 1 or more bins")
        if not 0 < self.q < 1:
            raise UsageError(f"q={self.q:g}: expected a false-discovery rate between 0 and 1")
        if self.surrogates < 2:
            raise UsageError(f"surrogates={self.surrogates}: expected 2 or more")
