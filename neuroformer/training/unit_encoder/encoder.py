"""The unit encoder: everything the model keeps of a new unit, from the unit's unlabelled activity, without a gradient.

- *How the unit answers* (bias, own history, reading of the trunk, low-rank target) has a likelihood: Bayes under the
  prior of the known units (`outputs`).
- *What others see of it* (the trunk's embedding of its events, low-rank source) has none of its own. It is amortised by
  a ridge regression from statistics of the unit's activity, learned on the units of the pretrained sessions; where
  left-out sessions are not predicted better than by the mean, that is the mean. Two more kinds of embeddings are tried:
  some drawn about the prediction with the spread of known units, so that the state sees more of the session than its
  mean, and what a second regression makes of how the units were found to answer. Those under which the session's
  training events are most probable (Laplace's evidence) are kept.
- *What only labels could tell* (the behaviour readout's embedding, tuning to context) is regressed in the same way and
  shrunk to the mean of known units by what the whole procedure was worth for known sessions treated as new.

What is common to a session (its embeddings, shared history) is the mean of the known sessions'. Full couplings are
weights on the other units' traces and are fitted with the output weights, under a normal prior as wide as known
couplings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroformer.data import Recording, RecordingsModule
from neuroformer.model import Neuroformer
from neuroformer.model.coupling import LowRankCoupling
from neuroformer.training.unit_encoder.activity import training_pieces, unit_statistics
from neuroformer.training.unit_encoder.levels import fit_levels
from neuroformer.training.unit_encoder.outputs import (
    OutputPrior,
    Outputs,
    fit_outputs,
    output_features,
    set_outputs,
    with_pairs,
)
from neuroformer.training.unit_encoder.ridge import Ridge

MOST_BINS = 20_000
"""Training bins of a session that are looked at, spread evenly."""
TRIAL_BINS = 4_000
"""Training bins on which embeddings are compared."""
_MOST_CELLS = 60_000_000  # (bin, unit, function) of the own histories that are held at once
_MOST_WORK = 1e11  # bins · units · weights², as many multiplications as a step of Newton's method takes
_DRAWS = 2
_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What was done for a session.

    Attributes:
        start: the embeddings that events were most probable under at first: `predicted`, or `drawn` about them.
        rounds: how often the second regression made them more probable.
        evidence: of the compared embeddings, nats, in the order in which they were tried.
    """

    start: str
    rounds: int
    evidence: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class UnitEncoder:
    """What was learned from the units of the pretrained sessions.

    Attributes:
        prior: of the output weights.
        pair_variance: (H,) of full couplings; empty where they are low-rank.
        output_scale: (D,) typical size of the output weights, as inputs of regressions.
        first: statistics → embeddings of events.
        again: statistics and output weights → embeddings of events.
        tuned: tuning to context → further tables, by name; for units whose tuning labels have told.
        spread: (W, W) covariance of the embeddings about what `first` predicts.
        others: statistics and output weights → further tables, by name.
        trust: of each of these, between 0 (their mean) and 1 (as predicted).
        sessions: mean over sessions of each table of sessions, by name.
        context_log_scale: (F,) mean log standard deviation of known units' tuning; empty without context.
    """

    prior: OutputPrior
    pair_variance: np.ndarray
    output_scale: np.ndarray
    first: Ridge
    again: Ridge
    tuned: dict[str, Ridge]
    spread: np.ndarray
    others: dict[str, Ridge]
    trust: dict[str, float]
    sessions: dict[str, np.ndarray]
    context_log_scale: np.ndarray

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint."""
        return {
            "prior": {"mean": self.prior.mean.tolist(), "covariance": self.prior.covariance.tolist()},
            "pair_variance": self.pair_variance.tolist(),
            "output_scale": self.output_scale.tolist(),
            "first": self.first.state(),
            "again": self.again.state(),
            "tuned": {name: ridge.state() for name, ridge in self.tuned.items()},
            "spread": self.spread.tolist(),
            "spread_shape": list(self.spread.shape),
            "others": {name: ridge.state() for name, ridge in self.others.items()},
            "trust": dict(self.trust),
            "sessions": {name: mean.tolist() for name, mean in self.sessions.items()},
            "context_log_scale": self.context_log_scale.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> UnitEncoder:
        """Rebuild from `state()`."""
        return cls(
            prior=OutputPrior(**{name: np.asarray(value, float) for name, value in state["prior"].items()}),
            pair_variance=np.asarray(state["pair_variance"], float),
            output_scale=np.asarray(state["output_scale"], float),
            first=Ridge.from_state(state["first"]),
            again=Ridge.from_state(state["again"]),
            tuned={name: Ridge.from_state(ridge) for name, ridge in state["tuned"].items()},
            spread=np.asarray(state["spread"], float).reshape(state["spread_shape"]),
            others={name: Ridge.from_state(ridge) for name, ridge in state["others"].items()},
            trust=dict(state["trust"]),
            sessions={name: np.asarray(mean, float) for name, mean in state["sessions"].items()},
            context_log_scale=np.asarray(state["context_log_scale"], float),
        )

    def gains(self) -> dict[str, float]:
        """For the log: share of the variance over left-out sessions that regressions explain; `trust` of the others."""
        found = {"embeddings": self.first.gain, "embeddings_again": self.again.gain, **self.trust}
        return found | {f"{name}_from_tuning": ridge.gain for name, ridge in self.tuned.items()}

    def untold(self) -> list[str]:
        """Tables that events did not tell of known sessions treated as new; they are at the mean of known units."""
        return [name for name, trust in self.trust.items() if not trust]

    @torch.no_grad()
    def encode(
        self,
        model: Neuroformer,
        data: RecordingsModule,
        recording: Recording,
        *,
        rng: np.random.Generator,
        most_bins: int = MOST_BINS,
    ) -> Encoded:
        """Give a session's units and the session what the model keeps of them, in place.

        Only the training part is read, and of it only events.

        Args:
            model: has the session already.
            data: reads the recording.
            recording: the session.
            rng: of the drawn embeddings.
            most_bins: training bins that are looked at, at most.
        """
        model.eval()
        session = data.vocabulary.index(recording.session_id)
        rows = model.rows(session)
        for name, table in session_tables(model).items():
            table[session] = torch.as_tensor(self.sessions[name], dtype=table.dtype)
        statistics = unit_statistics(
            model, recording, data.vocabulary[recording.session_id], most_bins=most_bins
        )
        per_bin = max(1, len(rows) * model.history.basis.shape[0])
        most_bins = max(200, min(most_bins, _MOST_CELLS // per_bin))
        trial = training_pieces(recording, min(most_bins, TRIAL_BINS))

        def outputs_for(embeddings: np.ndarray) -> Outputs:
            set_inputs(model, rows, embeddings)
            return fit_outputs(output_features(model, data, recording, trial), self.prior)

        predicted = self.first.predict(statistics)
        best, best_outputs, start, rounds = predicted, outputs_for(predicted), "predicted", 0
        evidence = [best_outputs.evidence]
        if predicted.shape[1]:
            for _ in range(_DRAWS):
                drawn = predicted + rng.multivariate_normal(
                    np.zeros(len(self.spread)), self.spread, size=len(rows), method="eigh"
                )
                found = outputs_for(drawn)
                evidence.append(found.evidence)
                if found.evidence > best_outputs.evidence:
                    best, best_outputs, start = drawn, found, "drawn"
            while self.again.gain > 0 and rounds < _ROUNDS:
                embeddings = self.again.predict(self._inputs(statistics, best_outputs))
                found = outputs_for(embeddings)
                evidence.append(found.evidence)
                if found.evidence <= best_outputs.evidence:
                    break
                best, best_outputs, rounds = embeddings, found, rounds + 1
        set_inputs(model, rows, best)
        prior, pairs = self.prior, bool(len(self.pair_variance))
        if pairs:
            prior = with_pairs(prior, self.pair_variance, len(rows))
            most_bins = max(200, min(most_bins, int(_MOST_WORK // (len(rows) * len(prior.mean) ** 2))))
        pieces = training_pieces(recording, most_bins)
        outputs = fit_outputs(output_features(model, data, recording, pieces, pairs=pairs), prior, rounds=2)
        set_outputs(model, session, outputs)
        self._set_others(model, rows, self._inputs(statistics, outputs))
        if model.n_levels > 1:
            counts = level_counts(data, recording, model.n_levels)
            model.level_unit[rows] = fit_levels(counts, model.level_bias[session])
        return Encoded(start=start, rounds=rounds, evidence=tuple(evidence))

    @torch.no_grad()
    def encode_tuned(self, model: Neuroformer, session: int) -> None:
        """Give the units of a session what their tuning, known by now, says of them: the readout's embedding."""
        assert model.context_path is not None
        rows, tables = model.rows(session), other_tables(model)
        for name, ridge in self.tuned.items():
            if ridge.gain > 0:
                value = ridge.predict(model.context_path.tuning.mean[rows].double().numpy())
                tables[name][rows] = torch.as_tensor(value, dtype=tables[name].dtype)

    def _inputs(self, statistics: np.ndarray, outputs: Outputs) -> np.ndarray:
        return np.concatenate([statistics, outputs.mean[:, : len(self.prior.mean)]], 1)

    def _set_others(self, model: Neuroformer, rows: Tensor, inputs: np.ndarray) -> None:
        tables = other_tables(model)
        for name, ridge in self.others.items():
            table = tables[name]
            value = ridge.mean + self.trust[name] * (ridge.predict(inputs) - ridge.mean)
            table[rows] = torch.as_tensor(value, dtype=table.dtype)
        if model.context_path is not None:
            # As narrow as of units with labels: rates must not rise with what is not known of tuning.
            scale = model.context_path.tuning.log_scale
            scale[rows] = torch.as_tensor(self.context_log_scale, dtype=scale.dtype).expand(len(rows), -1)


def input_tables(model: Neuroformer) -> list[Tensor]:
    """Tables of units that say how a unit's events are seen by the others."""
    found: list[Tensor] = [] if model.trunk is None else [model.trunk.unit]
    return [*found, model.coupling.source] if isinstance(model.coupling, LowRankCoupling) else found


def other_tables(model: Neuroformer) -> dict[str, Tensor]:
    """Tables of units that events say nothing of, by the name of what they belong to."""
    found: dict[str, Tensor] = {}
    if model.readout is not None:
        found["readout"] = model.readout.unit
    if model.alignment is not None and model.alignment.events is not None:
        found["alignment"] = model.alignment.events.unit
    if model.context_path is not None:
        found["tuning"] = model.context_path.tuning.mean
    return found


def session_tables(model: Neuroformer) -> dict[str, Tensor]:
    """Tables of sessions that are the mean of the known ones in a new one; the odds of levels are its own."""
    found: dict[str, Tensor] = {"history": model.history.shared}
    if model.trunk is not None:
        found["trunk"] = model.trunk.session
    if model.readout is not None:
        found["readout"] = model.readout.session
    if model.alignment is not None and model.alignment.events is not None:
        found["alignment"] = model.alignment.events.session
    return found


def set_inputs(model: Neuroformer, rows: Tensor, embeddings: np.ndarray) -> None:
    """Write (N, W) embeddings of events, W over all `input_tables`, into the model."""
    start = 0
    for table in input_tables(model):
        stop = start + table.shape[1]
        table[rows] = torch.as_tensor(embeddings[:, start:stop], dtype=table.dtype)
        start = stop


def level_counts(data: RecordingsModule, recording: Recording, n_levels: int) -> Tensor:
    """(N, K) training events of each unit at each amplitude level."""
    entry = data.vocabulary[recording.session_id]
    found = np.zeros((entry.n_units, n_levels))
    for span in recording.part("train"):
        tokens = recording.tokens(span, entry.level_edges)
        np.add.at(found, (tokens.units, tokens.levels), 1)
    return torch.from_numpy(found)
