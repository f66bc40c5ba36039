"""Settings of `neuroformer identity`, and the names of what it compares."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from neuroformer.errors import UsageError

PARTS = ("drive", "readout", "factors", "wiring", "unit", "history", "bias", "level")
"""What the model keeps per unit; docs/identity.md says what each is."""
DEFAULT_PARTS = ("drive", "readout", "factors", "wiring")
FEATURES = (
    "embedding",
    "rates",
    "autocorrelogram",
    "statistics",
    "embedding+statistics",
    "population",
    "behavior",
    "all_statistics",
    "embedding+all_statistics",
)
"""Feature sets, in the order of the table."""
PROBES = ("linear", "neighbours", "matching", "graph_matching")


@dataclass(kw_only=True)
class IdentityConfig:
    """Ask whether a unit's label can be told in an animal whose labels were never seen."""

    run: str
    """Folder of a pretrain run."""
    label: str
    """What to tell: a text column of the unit tables, such as cell_type, region or label."""
    data: list[str] = field(default_factory=list)
    """Session files; by default those that the run was trained on. Wildcards are allowed."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    out: str = ""
    """Folder for the results; by default the folder `identity_LABEL` inside the run."""
    overwrite: bool = False
    """Replace the results of a finished run in the same folder."""
    embedding: list[str] = field(default_factory=lambda: list(DEFAULT_PARTS))
    """Parts of the model that make the feature set `embedding`, those of them that the model has: drive, readout,
    factors, wiring; unit, history, bias, level can be added."""
    by_part: bool = True
    """Also probe every part of the model alone."""
    features: list[str] = field(default_factory=list)
    """Feature sets to compare, by default all: embedding, rates, autocorrelogram, statistics (the two before),
    embedding+statistics, population, behavior, all_statistics (statistics, population and behavior),
    embedding+all_statistics."""
    probes: list[str] = field(default_factory=list)
    """linear, neighbours, matching, graph_matching; by default the first two, and all four where a label stands for
    one or two units of a session, as the name of a worm's neuron does."""
    normalize: str = "rank"
    """How features of different sessions are brought together, without labels: `rank` (normal scores of the ranks
    within the session), `zscore` (within the session) or `none`."""
    behavior: list[str] = field(default_factory=list)
    """Behaviour variables of the feature set `behavior`; by default all that every session has."""
    activity_s: float | None = None
    """Width in seconds of the bins in which events are counted for correlations; by default about 0.05, or the frames
    where every session has traces."""
    exclude: list[str] = field(default_factory=list)
    """Labels to leave out, wildcards allowed, such as '*[?]' for names with a question mark."""
    merge: str = ""
    """A regular expression that is cut out of the labels wherever two or more labels become one by it: '[LR]$' makes
    AVAL and AVAR the class AVA and leaves AVL."""
    min_confidence: float = 0.0
    """Least value of units/label_confidence of a labelled unit; 0 asks for none."""
    min_animals: int = 2
    """Only labels that occur in as many animals are asked."""
    permutations: int = 1000
    """Permutations of the held-out animals' labels for the p-values."""
    bootstrap: int = 1000
    """Draws of animals for the intervals."""
    seed: int = 0
    """Seed of permutations and bootstrap."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        for key, known in (("embedding", PARTS), ("features", FEATURES), ("probes", PROBES)):
            names = list(dict.fromkeys(getattr(self, key)))
            setattr(self, key, names)
            for name in names:
                if name not in known:
                    raise UsageError(f"{key}: unknown {name!r}; expected any of {', '.join(known)}")
        if not self.embedding:
            raise UsageError(f"embedding: empty; expected any of {', '.join(PARTS)}")
        if self.normalize not in ("rank", "zscore", "none"):
            raise UsageError(f"normalize={self.normalize}: expected rank, zscore or none")
        if self.activity_s is not None and not self.activity_s > 0:
            raise UsageError(f"activity_s={self.activity_s:g}: expected seconds above 0")
        if self.min_animals < 2:
            raise UsageError(
                f"min_animals={self.min_animals}: expected 2 or more, one to learn a label from and one to ask"
            )
        for key, least in (("permutations", 99), ("bootstrap", 100), ("seed", 0)):
            if getattr(self, key) < least:
                raise UsageError(f"{key}={getattr(self, key)}: expected {least} or more")
        try:
            re.compile(self.merge)
        except re.error as error:
            raise UsageError(
                f"merge={self.merge}: not a regular expression ({error}); try '[LR]$'"
            ) from error
