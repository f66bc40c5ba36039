"""What a variant gives each bin of a part: events given what it may know, and behaviour from events.

Legend: T bins of the part, spans joined.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from neuroformer.ablation.variants import Variant
from neuroformer.data import Part, Recording, RecordingsModule, Vocabulary
from neuroformer.files import atomic_path
from neuroformer.model import Neuroformer
from neuroformer.model.encoders import VariableShape
from neuroformer.model.observation import poisson_log_likelihood
from neuroformer.model.readout import Decoded
from neuroformer.model.tasks import make_task


@dataclass(frozen=True, kw_only=True, eq=False)
class BinScores:
    """One session under one variant.

    Attributes:
        time: (T,) middle of each bin, seconds.
        events: (T,) events of all units.
        null: (T,) nats of the homogeneous Poisson process at the training rates.
        given: (T,) nats of the model in its own view.
        alone: (T,) nats of the model from events alone; NaN if it did not learn that.
        error: by decoded variable (T,): distance of the readout in the variable's unit (of an angle the short way), 1
            or 0 for a wrong or right label; NaN where unknown.
        density: by decoded variable (T,): log-likelihood of the readout, nats (continuous values in standard
            deviations, angles in radians); NaN where unknown.
    """

    time: np.ndarray
    events: np.ndarray
    null: np.ndarray
    given: np.ndarray
    alone: np.ndarray
    error: dict[str, np.ndarray] = field(default_factory=dict)
    density: dict[str, np.ndarray] = field(default_factory=dict)


@torch.no_grad()
def score_session(
    model: Neuroformer,
    vocabulary: Vocabulary,
    data: RecordingsModule,
    recording: Recording,
    variant: Variant,
    part: Part,
) -> BinScores:
    """Score every bin of a part once, with the whole context before it.

    Args:
        model: the variant's, in evaluation mode.
        vocabulary: the model's.
        data: that the recording belongs to.
        recording: the session.
        variant: says what the model has learned.
        part: which part.
    """
    log_rate = torch.as_tensor(np.log(vocabulary[recording.session_id].train_rate), dtype=torch.float32)
    columns: dict[str, list[np.ndarray]] = {}
    times = []
    for keys, batch in data.in_order(part, [recording]):
        counts = batch.counts(scored_only=True)
        found = {"events": counts.sum(-1), "null": poisson_log_likelihood(log_rate, counts).sum(-1)}
        for name, view in (("given", variant.view), ("alone", "spikes" if variant.alone else None)):
            if view is None:
                found[name] = torch.full_like(found["null"], torch.nan)
            else:
                seen = make_task(view, batch, model.variables).seen
                found[name] = poisson_log_likelihood(model(seen)[0], counts).sum(-1)
        task = make_task("decode", batch, model.variables)
        if variant.decodes and task.labels is not None:
            assert model.readout is not None
            outputs = model.readout_outputs(task.seen)
            decoded = model.readout.decoded(outputs)
            for name, (score, counted) in model.readout.log_likelihood(outputs, task.labels).items():
                truth = task.labels.variables[name].values[:, batch.first_scored :]
                off = distance(model.readout.shapes[name], decoded[name], truth)
                found[f"error {name}"] = off.masked_fill(~counted, torch.nan)
                found[f"density {name}"] = score.masked_fill(~counted, torch.nan)
        for row, key in enumerate(keys):
            n_bins = len(key.span)
            epoch = recording.epochs[key.span.epoch]
            times.append(np.asarray(epoch.time_of(np.arange(key.span.start, key.span.stop) + 0.5)))
            for name, values in found.items():
                columns.setdefault(name, []).append(values[row, :n_bins].double().numpy())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return BinScores(
        time=np.concatenate(times),
        **{name: joined[name] for name in ("events", "null", "given", "alone")},
        error={n.removeprefix("error "): v for n, v in joined.items() if n.startswith("error ")},
        density={n.removeprefix("density "): v for n, v in joined.items() if n.startswith("density ")},
    )


def distance(shape: VariableShape, decoded: Decoded, truth: torch.Tensor) -> torch.Tensor:
    """(B, T') how far a readout is off: Euclidean, of angles the mean of the short ways, of labels 1 or 0."""
    if decoded.log_probability is not None:
        return (decoded.log_probability.argmax(-1) != truth).to(decoded.log_probability.dtype)
    assert decoded.mean is not None
    off = decoded.mean - truth
    if shape.period is not None:
        off = (off + shape.period / 2).remainder(shape.period) - shape.period / 2
        return off.abs().mean(-1)
    return off.norm(dim=-1)


def known_bins(recording: Recording, part: Part, when: str = "") -> np.ndarray:
    """(T,) bool: bins of a part in which any behaviour is known; of a session without behaviour, any variable.

    Args:
        recording: the session.
        part: which part.
        when: a condition that must hold as well.
    """
    readers = {name: r for name, r in recording.variables.items() if r.info.kind != "frames"}
    behavior = [name for name, r in readers.items() if r.config.source != "stimulus"] or list(readers)
    parts = []
    for span in recording.part(part):
        known = np.zeros(len(span), bool)
        for name in behavior:
            known |= recording.variable(name, span, all_labels=True).known
        if when and behavior:
            reader = readers[behavior[0]]
            known &= reader.holds(when, recording.epochs[span.epoch], span.start, span.stop)
        parts.append(known)
    return np.concatenate(parts)


def save_scores(path: Path, scores: dict[str, BinScores], part: Part) -> None:
    """Write the scores of all sessions of a run to one npz file."""
    arrays: dict[str, np.ndarray] = {"part": np.array(part), "sessions": np.array(list(scores))}
    for k, score in enumerate(scores.values()):
        for name in ("time", "events", "null", "given", "alone"):
            arrays[f"{k} {name}"] = getattr(score, name)
        for kind in ("error", "density"):
            arrays |= {f"{k} {kind} {name}": v for name, v in getattr(score, kind).items()}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def load_scores(path: Path, part: Part) -> dict[str, BinScores] | None:
    """What `save_scores` wrote, or None if there is no such file or it is of another part."""
    if not path.is_file():
        return None
    with np.load(path) as file:
        if str(file["part"]) != part:
            return None
        found = {}
        for k, session_id in enumerate(file["sessions"]):
            own = {n.partition(" ")[2]: file[n] for n in file.files if n.partition(" ")[0] == str(k)}
            found[str(session_id)] = BinScores(
                **{n: own[n] for n in ("time", "events", "null", "given", "alone")},
                error={n.partition(" ")[2]: v for n, v in own.items() if n.startswith("error ")},
                density={n.partition(" ")[2]: v for n, v in own.items() if n.startswith("density ")},
            )
    return found
