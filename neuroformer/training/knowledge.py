"""What a run knows of behaviour beside the model's weights: motion, what units are like, and how far to trust events.

All three are learned from the labels of the training part (the last from those of validation) when training has ended,
and travel in the checkpoint: a new animal is decoded with them. So do linear readouts, which look at no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroformer.data import Recording, RecordingsModule
from neuroformer.data.grid import Grid, make_grid
from neuroformer.data.motion import MotionCounts, count_motion, make_motion, paths_of, with_unknown
from neuroformer.errors import UserError
from neuroformer.inversion.filtering import forward, smooth
from neuroformer.inversion.onboarding import (
    Tuning,
    TuningPrior,
    fit_tuning,
    labelled_counts,
    learn_prior,
    set_tuning,
    state_features,
    wide_prior,
)
from neuroformer.linear_readout import LearnedReadout, learn_variable_readout
from neuroformer.model import Neuroformer
from neuroformer.settings.linear_readout import LinearReadoutConfig

EVIDENCE = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
"""Exponents of the likelihood that are tried."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a checkpoint holds for a new animal.

    Attributes:
        motion: how decoded behaviour moves; of no state where nothing is inverted.
        prior: of the tuning of a unit; None where events depend on more than the decoded variables.
        evidence: exponent of the likelihood of a bin's events.
        readouts: linear readouts by variable.
    """

    motion: MotionCounts
    prior: TuningPrior | None
    evidence: float
    readouts: Mapping[str, LearnedReadout] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint."""
        prior = self.prior and {
            "mean": self.prior.mean.tolist(),
            "covariance": self.prior.covariance.tolist(),
        }
        readouts = [readout.state() for readout in self.readouts.values()]
        return {
            "motion": self.motion.state(),
            "prior": prior,
            "evidence": self.evidence,
            "readouts": readouts,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Knowledge:
        """Rebuild from `state()`."""
        prior = state["prior"] and TuningPrior(**{k: np.asarray(v, float) for k, v in state["prior"].items()})
        readouts = [LearnedReadout.from_state(found) for found in state.get("readouts", [])]
        return cls(
            motion=MotionCounts.from_state(state["motion"]),
            prior=prior,
            evidence=float(state["evidence"]),
            readouts={readout.name: readout for readout in readouts},
        )


def learn_readouts(data: RecordingsModule, config: LinearReadoutConfig) -> dict[str, LearnedReadout]:
    """Linear readouts of the decoded variables on the sessions of a run; none unless they are enabled.

    Raises:
        UserError: a target that the run does not decode.
    """
    if not config.enabled:
        return {}
    decoded = {name: entry for name, entry in data.vocabulary.variables.items() if entry.is_decoded}
    found = {}
    for name in config.targets or decoded:
        if name not in decoded:
            raise UserError(
                f"linear_readout.targets: {name!r} is not decoded; it has role=both or target of "
                f"{', '.join(decoded) or 'no variable'}"
            )
        learned = learn_variable_readout(data.recordings, decoded[name], config)
        if learned is not None:
            found[name] = learned
    return found


def learn_knowledge(
    model: Neuroformer,
    data: RecordingsModule,
    before: Knowledge | None = None,
    readouts: Mapping[str, LearnedReadout] | None = None,
) -> Knowledge | None:
    """From the sessions of a run; None where nothing is inverted and nothing is read out.

    Args:
        model: trained.
        data: its sessions.
        before: what was known before a fine-tuning; its prior and exponent are kept, as they come from more animals.
        readouts: learned on these sessions; by default those from before.
    """
    readouts = readouts or (before.readouts if before is not None else {})
    grid = make_grid(data.vocabulary)
    if grid is None:
        none = MotionCounts(visits=np.zeros(0), steps=np.zeros((0, 0)), unknown=np.zeros((2, 2)))
        return Knowledge(motion=none, prior=None, evidence=1.0, readouts=readouts) if readouts else None
    motion = count_motion(grid, paths_of(grid, data.recordings))
    if before is not None and len(before.motion.visits):
        return Knowledge(
            motion=before.motion + motion, prior=before.prior, evidence=before.evidence, readouts=readouts
        )
    having = [r for r in data.recordings if all(name in r.variables for name in grid.names)]
    if other_inputs(model, grid) or not having:
        return Knowledge(motion=motion, prior=None, evidence=1.0, readouts=readouts)
    training = model.training
    model.eval()
    features = state_features(model, grid)
    sessions = [labelled_counts(r, grid, n_states=len(features)) for r in having]
    prior = learn_prior(sessions, features)
    tunings = [fit_tuning(counts, time, features, prior) for counts, time in sessions]
    evidence = choose_evidence(having, tunings, grid, motion)
    model.train(training)
    return Knowledge(motion=motion, prior=prior, evidence=evidence, readouts=readouts)


def other_inputs(model: Neuroformer, grid: Grid) -> list[str]:
    """Variables that events depend on beside those of the grid."""
    return [name for name, shape in model.variables.items() if shape.is_input and name not in grid.names]


def warm_start(model: Neuroformer, data: RecordingsModule) -> None:
    """Begin training with tuning curves fitted to the labels, unit by unit, on the features as they are at first.

    Gradient steps need hundreds of steps for what Newton's method finds at once. Nothing is done where events depend on
    more than the decoded variables.
    """
    grid = make_grid(data.vocabulary)
    if grid is None or other_inputs(model, grid):
        return
    training = model.training
    features = state_features(model.eval(), grid)
    model.train(training)
    for recording in data.recordings:
        if not all(name in recording.variables for name in grid.names):
            continue
        counts, time = labelled_counts(recording, grid, n_states=len(features))
        entry = data.vocabulary[recording.session_id]
        counts[:, -1] = entry.train_counts - counts.sum(1)  # bins in which behaviour is not known
        time[-1] = entry.train_bins - time.sum()
        tuning = fit_tuning(counts, time, features, wide_prior(features, float(entry.train_rate.mean())))
        set_tuning(model, model.rows(data.vocabulary.index(recording.session_id)), tuning)


def choose_evidence(
    recordings: list[Recording], tunings: list[Tuning], grid: Grid, motion: MotionCounts
) -> float:
    """The exponent under which the labels of the validation part are most probable, given all its events."""
    chain = with_unknown(make_motion(grid, motion), motion)
    scores = np.zeros(len(EVIDENCE))
    for recording, tuning in zip(recordings, tunings, strict=True):
        for span in recording.part("val"):
            cells = grid.cells({name: recording.variable(name, span) for name in grid.names})
            known = np.nonzero(cells >= 0)[0]
            if not len(known):
                continue
            score = tuning.evidence(recording.counts(span).astype(float))
            for k, exponent in enumerate(EVIDENCE):
                filtered, _ = forward(exponent * score, chain)
                found = smooth(exponent * score, chain, filtered)
                scores[k] += np.log(np.maximum(found[known, cells[known]], 1e-12)).sum()
    return EVIDENCE[int(scores.argmax())] if scores.any() else 1.0
