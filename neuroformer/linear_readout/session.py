"""A readout of one variable, learned on the sessions of a run and fitted to those of a new animal.

Legend: T bins of a stretch, M trials, D dimensions, E numbers that stand for the variable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from neuroformer.baselines.decoding import Target
from neuroformer.data import Recording, Span
from neuroformer.data.variables import VariableEntry
from neuroformer.errors import UserError
from neuroformer.linear_readout.activity import (
    BinFeatures,
    Input,
    TrialFeatures,
    Trials,
    choose_input,
    find_trials,
)
from neuroformer.linear_readout.basis import raised_cosines
from neuroformer.linear_readout.learn import learn_readout
from neuroformer.linear_readout.posterior import Fitted, best_fit
from neuroformer.linear_readout.prior import ReadoutPrior, wide_prior
from neuroformer.linear_readout.rows import Rows
from neuroformer.settings.linear_readout import LinearReadoutConfig

Method = Literal["readout", "readout_causal", "readout_scratch"]
CONFIDENCE = "label_confidence"
_LEAST_ROWS = 8
"""Labels of a session from which something is learned."""
_SCRATCH_SLOPE = 2.0
"""Of a readout that knows no other animal; with ±1 regressed on two Gaussian classes it is about 2."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedReadout:
    """What a checkpoint holds of one variable.

    Attributes:
        name: of the variable.
        config: settings it was learned with.
        kind: what it reads.
        bin_s: width of a bin, seconds.
        per_trial: whether it says one thing per trial.
        priors: of each of the E numbers.
        causal: the same of activity up to the bin; empty per trial.
    """

    name: str
    config: LinearReadoutConfig
    kind: Input
    bin_s: float
    per_trial: bool
    priors: tuple[ReadoutPrior, ...]
    causal: tuple[ReadoutPrior, ...] = ()

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint."""
        return {
            "name": self.name,
            "config": asdict(self.config),
            "kind": self.kind,
            "bin_s": self.bin_s,
            "per_trial": self.per_trial,
            "priors": [prior.state() for prior in self.priors],
            "causal": [prior.state() for prior in self.causal],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LearnedReadout:
        """Rebuild from `state()`."""
        return cls(
            **{
                **state,
                "config": LinearReadoutConfig(**state["config"]),
                "priors": tuple(ReadoutPrior.from_state(found) for found in state["priors"]),
                "causal": tuple(ReadoutPrior.from_state(found) for found in state["causal"]),
            }
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What a readout says of a part of a session, one array a stretch, or one of all trials.

    Attributes:
        mean: (T, D) in the variable's unit, or None of classes.
        spread: (T, D) standard deviation; None of circular variables and classes.
        probability: (T, K) of classes, or None.
    """

    mean: list[np.ndarray] | None = None
    spread: list[np.ndarray] | None = None
    probability: list[np.ndarray] | None = None


def learn_variable_readout(
    recordings: Sequence[Recording], entry: VariableEntry, config: LinearReadoutConfig
) -> LearnedReadout | None:
    """Learn a variable on the labels of the training part of several sessions; None where no session has enough.

    Args:
        recordings: the sessions.
        entry: the variable.
        config: the settings.

    Raises:
        UserError: traces are asked for, and a session has none.
    """
    having = [r for r in recordings if entry.name in r.variables]
    kind = choose_input(recordings, config.input)
    for recording in having:
        if kind == "traces" and not recording.session.has_traces:
            raise UserError(
                f"{recording.session.path}: has no traces, which linear_readout.input=traces reads; "
                "use linear_readout.input=events, or leave the session out"
            )
    per_trial = entry.settings.source == "trials"
    found: dict[bool, tuple[ReadoutPrior, ...]] = {}
    for causal in (False,) if per_trial else (False, True):
        readers = [SessionReadout(r, entry, config, kind=kind, causal=causal) for r in having]
        labelled = [rows for reader in readers if len((rows := reader.labelled())[0]) >= _LEAST_ROWS]
        if not labelled:
            return None
        found[causal] = tuple(
            learn_readout(
                [rows[e] for rows in labelled],
                functions=labelled[0][0].features.shape[2],
                rounds=config.rounds,
                correlations=[0.0] if per_trial else config.correlations,
                classes=entry.kind == "categorical",
            )
            for e in range(len(labelled[0]))
        )
    return LearnedReadout(
        name=entry.name, config=config, kind=kind, bin_s=recordings[0].bin_s, per_trial=per_trial,
        priors=found[False], causal=found.get(True, ()),
    )  # fmt: skip


class SessionReadout:
    """One variable of one session as features and numbers.

    Args:
        recording: the session.
        entry: the variable.
        config: the settings.
        kind: what is read.
        causal: whether activity after a bin is left out.
    """

    def __init__(
        self,
        recording: Recording,
        entry: VariableEntry,
        config: LinearReadoutConfig,
        *,
        kind: Input,
        causal: bool = False,
    ) -> None:
        """See the class."""
        self.recording, self.entry = recording, entry
        self.target = Target(
            name=entry.name,
            kind="categorical" if entry.kind == "categorical" else "continuous",
            period=entry.period,
            labels=entry.labels,
            unit=entry.unit,
        )
        self.per_trial = entry.settings.source == "trials"
        self.names = unit_names(recording, config)
        self.trial_features = TrialFeatures.of(recording, kind, config.windows) if self.per_trial else None
        self.bin_features = None
        if not self.per_trial:
            # Bumps as dense as those of the whole window.
            width = config.before_s + config.after_s
            part = config.before_s / width if causal and width > 0 else 1.0
            basis = raised_cosines(
                before_s=config.before_s,
                after_s=0.0 if causal else config.after_s,
                functions=max(1, round(1 + (config.functions - 1) * part)),
                bin_s=recording.bin_s,
            )
            self.bin_features = BinFeatures.of(recording, kind, basis)

    def labelled(self) -> list[Rows]:
        """Labels of the training part, as far as the session's settings leave them, for each of the E numbers."""
        features, values, bins, stretch = [], [], [], []
        for k, (found, known, value, at) in enumerate(self._parts()):
            features.append(found[known])
            values.append(value[known])
            bins.append(at[known])
            stretch.append(np.full(int(known.sum()), k))
        y = self._encode(np.concatenate(values))
        return [
            Rows(
                features=np.concatenate(features),
                y=y[:, e],
                bins=np.concatenate(bins),
                stretch=np.concatenate(stretch),
                names=self.names,
            )
            for e in range(y.shape[1])
        ]

    def _parts(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Features, whether labelled, values and bins of each training stretch, or of all its trials."""
        spans = self.recording.part("train")
        if self.trial_features is not None:
            trials = find_trials(self.recording, spans)
            value, known = self.trial_values(trials, all_labels=False)
            return [(self.trial_features(trials), known, value, np.arange(len(trials)))]
        assert self.bin_features is not None
        found = []
        for span in spans:
            there = self.recording.variable(self.entry.name, span)
            found.append((self.bin_features(span), there.known, there.values, np.arange(len(span))))
        return found

    def trial_values(self, trials: Trials, *, all_labels: bool) -> tuple[np.ndarray, np.ndarray]:
        """(M, …) value of each trial, and whether all of its bins are labelled."""
        values, known = [], []
        for span in trials.spans:
            there = self.recording.variable(self.entry.name, span, all_labels=all_labels)
            known.append(bool(there.known.all()))
            values.append(there.values[0])
        if not values:
            shape = () if self.entry.kind == "categorical" else self.entry.shape
            return np.zeros((0, *shape), np.int64 if not shape else float), np.zeros(0, bool)
        return np.array(values), np.array(known)

    def _encode(self, values: np.ndarray) -> np.ndarray:
        """(n, E) numbers: a class as ±1 against the rest (one number for two classes), an angle as cosine and sine."""
        if self.target.kind == "categorical":
            n = self.target.n_classes
            classes = np.arange(1, 2) if n == 2 else np.arange(n)
            return np.where(values[:, None] == classes, 1.0, -1.0)
        return self.target.encode(values.reshape(len(values), math.prod(values.shape[1:])).astype(float))

    def fit(
        self, priors: Sequence[ReadoutPrior] | None, correlations: Sequence[float] = (0.0,)
    ) -> list[Fitted]:
        """Weights of each of the E numbers given the session's labels.

        Args:
            priors: one per number; None knows no other animal, and of these the correlation of errors is chosen by the
                evidence of the labels.
            correlations: to choose from then.
        """
        labelled = self.labelled()
        if priors is not None:
            return [best_fit(rows, [prior]) for rows, prior in zip(labelled, priors, strict=True)]
        n_units, k = labelled[0].features.shape[1:]
        used = [0.0] if self.per_trial else correlations
        return [best_fit(rows, [wide_prior(n_units, k, rho=rho) for rho in used]) for rows in labelled]

    def say(
        self,
        fitted: Sequence[Fitted],
        spans: Sequence[Span],
        slopes: Sequence[float] | None = None,
        trials: Trials | None = None,
    ) -> Said:
        """Predict.

        Args:
            fitted: of each of the E numbers.
            spans: stretches to say something of.
            slopes: of the logistic function, one per number; by default that of a readout from scratch.
            trials: those of the spans, of a variable that holds for a trial.
        """
        features: list[np.ndarray]
        if self.trial_features is not None:
            features = [self.trial_features(trials or find_trials(self.recording, spans))]
        else:
            assert self.bin_features is not None
            features = [self.bin_features(span) for span in spans]
        means, spreads = [], []
        for part in features:
            said = [one.predict(part) for one in fitted]
            means.append(np.stack([mean for mean, _ in said], 1))
            spreads.append(np.stack([spread for _, spread in said], 1))
        if self.target.kind == "categorical":
            slope = np.array(slopes if slopes is not None else [_SCRATCH_SLOPE] * len(fitted))
            return Said(probability=[_probability(mean * slope) for mean in means])
        if self.target.period is not None:
            return Said(mean=[self.target.decode(mean) for mean in means])
        return Said(mean=means, spread=spreads)


def read_out(
    learned: LearnedReadout, recording: Recording, entry: VariableEntry, method: Method
) -> tuple[Said, Trials | None]:
    """What a method says of the test part of a session, from the labels of its training part.

    Args:
        learned: on other animals.
        recording: the session, with the labels it is to know.
        entry: the variable.
        method: readout (activity on both sides of a bin), readout_causal (up to the bin), or readout_scratch (as
            readout, by an estimator that knows no other animal).

    Returns:
        What it says, and the trials of which it says it, of a variable that holds for a trial.
    """
    causal = method == "readout_causal" and not learned.per_trial
    reader = SessionReadout(recording, entry, learned.config, kind=learned.kind, causal=causal)
    spans = recording.part("test")
    trials = find_trials(recording, spans) if learned.per_trial else None
    if method == "readout_scratch":
        fitted, slopes = reader.fit(None, learned.config.correlations), None
    else:
        priors = learned.causal if causal else learned.priors
        fitted, slopes = reader.fit(priors), [prior.slope for prior in priors]
    return reader.say(fitted, spans, slopes, trials), trials


def unit_names(recording: Recording, config: LinearReadoutConfig) -> tuple[str, ...]:
    """Name of each unit; "" where unknown, not certain enough, or had by several units of the session."""
    units, n = recording.session.units, recording.session.n_units
    column = units.get(config.names) if config.names else None
    if column is None or column.dtype.kind not in "UO" or column.ndim != 1:
        return ("",) * n
    names = column.astype(str)
    if config.min_confidence > 0 and CONFIDENCE in units:
        # A comparison with NaN is false: a name of unknown confidence does not count.
        names = np.where(np.asarray(units[CONFIDENCE], float) >= config.min_confidence, names, "")
    found, counts = np.unique(names, return_counts=True)
    several = set(found[counts > 1])
    return tuple("" if name in several else str(name) for name in names)


def _probability(score: np.ndarray) -> np.ndarray:
    """(T, K) from scores of class 1 against class 0 (T, 1), or of each class against the rest (T, K)."""
    if score.shape[1] == 1:
        one = expit(score[:, 0])
        return np.stack([1 - one, one], 1)
    weight = np.exp(score - score.max(1, keepdims=True))
    found: np.ndarray = weight / weight.sum(1, keepdims=True)
    return found
