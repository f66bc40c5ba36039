"""`neuroformer identity`: embeddings written, features compared, everything left in one folder."""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.data import Recording
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder, atomic_path
from neuroformer.identity.activity import read_activity
from neuroformer.identity.compare import Asked, Result, compare, difference, session_accuracy
from neuroformer.identity.embedding import unit_parts
from neuroformer.identity.export import UnitEmbeddings, write_embeddings
from neuroformer.identity.features import FeatureSet, basic_sets, feature_set, normalized, plain_features
from neuroformer.identity.figure import identity_figure
from neuroformer.identity.population import correlation_graph
from neuroformer.identity.scores import LEAD
from neuroformer.identity.table import as_dict, render_table, verdict, write_table
from neuroformer.identity.units import AskedLabels, UnitTable, asked_labels, unit_table
from neuroformer.plotting import save_figure
from neuroformer.settings.identity import FEATURES, PROBES, IdentityConfig

# A label of a unit, rather than of a kind of unit: at most so many units of a session share it on average.
_FEW_PER_LABEL = 2.0


@dataclass(frozen=True, kw_only=True)
class IdentityRun:
    """What `identity` leaves.

    Attributes:
        folder: with embeddings.npz, embeddings.csv, table.csv, predictions.csv, metrics.json, figures/identity.png.
        text: table and sentence.
        results: all scores.
    """

    folder: Path
    text: str
    results: list[Result]


def identity(config: IdentityConfig, *, command: str = "neuroformer identity") -> IdentityRun:
    """Export a run's unit embeddings and compare feature sets.

    Raises:
        UserError: the run or a session is no good, or the labels cannot be asked.
    """
    started = time.monotonic()
    run = load_run(config.run, checkpoint=config.checkpoint, sessions=config.data)
    recordings = run.data.recordings
    units = unit_table([recording.session for recording in recordings])
    labels = asked_labels(
        units,
        config.label,
        exclude=config.exclude,
        merge=config.merge,
        min_confidence=config.min_confidence,
        min_animals=config.min_animals,
    )
    embeddings = UnitEmbeddings(units=units, parts=_parts(run, recordings))
    if not embeddings.matrix(config.embedding).shape[1]:
        raise UserError(
            f"embedding: the model of {config.run} has none of {', '.join(config.embedding)}; it has "
            f"{', '.join(embeddings.parts)}"
        )
    asked = Asked.of(units, labels, {})
    probes = config.probes or list(PROBES if asked.units_per_label() <= _FEW_PER_LABEL else PROBES[:2])
    sets, graphs = _feature_sets(config, embeddings, recordings, with_graphs="graph_matching" in probes)
    asked = dataclasses.replace(asked, graphs=graphs)

    out = Path(config.out) if config.out else run.folder / f"identity_{config.label}"
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    write_embeddings(folder.path, embeddings)

    settings: dict[str, Any] = {
        "permutations": config.permutations,
        "draws": config.bootstrap,
        "seed": config.seed,
    }
    results = compare(asked, sets, probes, **settings)
    if config.by_part:
        parts = [_part_set(name, embeddings, config) for name in embeddings.parts]
        results[-1:-1] = compare(asked, parts, probes[:1], **settings)[:-1]
        sets += parts
    adds = []
    for with_it, without in (
        ("embedding+statistics", "statistics"),
        ("embedding+all_statistics", "all_statistics"),
    ):
        found = difference(results, with_it, without, probes[0], draws=config.bootstrap, seed=config.seed)
        if found is not None:
            adds.append((with_it, without, found))
    session = session_accuracy(
        embeddings.matrix(config.embedding).astype(np.float64), units.session, seed=config.seed
    )
    sentence = verdict(results, label=config.label, n_animals=len(asked.animals), adds=adds)
    text = "\n".join(
        [
            _headline(labels, asked, config),
            render_table(results, n_classes=len(asked.classes)),
            _space_line(session),
            sentence,
        ]
    )
    save_figure(
        identity_figure(_mapped(sets, results, probes[0]), asked, results, label=config.label),
        folder.figures / "identity.png",
    )
    write_table(folder.path / "table.csv", results)
    _write_predictions(folder.path / "predictions.csv", units, asked, results)
    folder.finish(
        {
            "label": config.label,
            "animals": list(asked.animals),
            "classes": list(asked.classes),
            "n_units": len(units),
            "n_labelled": int((asked.label >= 0).sum()),
            "n_asked": int(sum(asked.questions(a).sum() for a in asked.animals)),
            "dropped_labels": list(labels.dropped),
            "merged_labels": labels.merged,
            "results": [as_dict(r) for r in results],
            "embedding_adds": {with_it: found for with_it, _, found in adds},
            "session_from_embedding": session,
            "sentence": sentence,
            "seconds": time.monotonic() - started,
        }
    )
    return IdentityRun(folder=folder.path, text=text, results=results)


def _parts(run: TrainedRun, recordings: Sequence[Recording]) -> dict[str, np.ndarray]:
    """The parts of the sessions at hand, in their order; the vocabulary may hold others."""
    vocabulary = run.trained.vocabulary
    rows = np.concatenate(
        [vocabulary.offset(r.session_id) + np.arange(vocabulary[r.session_id].n_units) for r in recordings]
    )
    return {name: part[rows] for name, part in unit_parts(run.trained.model).items()}


def _feature_sets(
    config: IdentityConfig, embeddings: UnitEmbeddings, recordings: Sequence[Recording], *, with_graphs: bool
) -> tuple[list[FeatureSet], dict[str, np.ndarray]]:
    names = config.features or list(FEATURES)
    needed = [name for name in basic_sets(names) if name != "embedding"]
    activities = []
    if needed or with_graphs:
        activities = read_activity(recordings, activity_s=config.activity_s, behavior=config.behavior)
    basics = plain_features(activities, needed) if needed else {}
    matrix = embeddings.matrix(config.embedding)
    basics["embedding"] = (matrix.astype(np.float64), [f"{k}" for k in range(matrix.shape[1])])
    session = embeddings.units.session
    sets = [feature_set(name, basics, session, normalize=config.normalize) for name in names]
    graphs = {a.name: correlation_graph(a) for a in activities} if with_graphs else {}
    found = [s for s in sets if s is not None]
    if not found:
        raise UserError(
            f"features: {', '.join(names)} cannot be computed, no behaviour variable is common to all sessions; "
            "name other sets"
        )
    return found, graphs


def _part_set(name: str, embeddings: UnitEmbeddings, config: IdentityConfig) -> FeatureSet:
    """One part of the embedding as a feature set."""
    values = embeddings.parts[name].astype(np.float64)
    return FeatureSet(
        name=f"embedding:{name}",
        values=normalized(values, embeddings.units.session, how=config.normalize),
        columns=[str(k) for k in range(values.shape[1])],
        undefined=0.0,
    )


def _mapped(sets: Sequence[FeatureSet], results: Sequence[Result], probe: str) -> FeatureSet:
    """What the map shows: the embedding or the part of it that tells most; without them the set that does."""
    scores = {r.features: r.scores[LEAD] for r in results if r.probe == probe}
    of_model = [s for s in sets if s.name == "embedding" or s.name.startswith("embedding:")]
    return max(of_model or sets, key=lambda s: scores[s.name])


def _headline(labels: AskedLabels, asked: Asked, config: IdentityConfig) -> str:
    n_asked = int(sum(asked.questions(a).sum() for a in asked.animals))
    text = (
        f"{config.label}: {n_asked} units of {len(asked.animals)} animals, {len(asked.classes)} labels; each animal is "
        "named by what was learned from the others"
    )
    if labels.dropped:
        text += f" ({len(labels.dropped)} labels of fewer than {config.min_animals} animals left out)"
    return text


def _space_line(session: dict[str, float]) -> str:
    if not np.isfinite(session["accuracy"]):
        return "one session, or too few units in one, to say whether sessions share a space"
    return (
        f"as learned, the embedding gives away a unit's session with accuracy {session['accuracy']:.2f} "
        f"(chance {session['chance']:.2f}): near chance, sessions share a space; near 1, they do not by themselves"
    )


def _write_predictions(path: Path, units: UnitTable, asked: Asked, results: Sequence[Result]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["features", "probe", "session_id", "subject_id", "unit", "unit_id", "label", "named", "rank"]
        )
        for r in results:
            for found in r.answers:
                for row, truth, named, rank in zip(
                    found.rows, found.truth, found.named, found.rank, strict=True
                ):
                    of = (units.session[row], units.subject[row], units.unit[row], units.unit_id[row])
                    says = (asked.classes[truth], asked.classes[named], int(rank) + 1)
                    writer.writerow([r.features, r.probe, *of, *says])
