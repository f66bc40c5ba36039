"""Read what the other commands left in a run folder.

A file that is not there is `None`; a file that cannot be read is a `UserError` that names it. Nothing here imports the
model, so a report can be made on any machine that has the folder.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard
from zipfile import BadZipFile

import h5py
import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from neuroformer.decoding.learning_curve import SCALED, lead_and_rival
from neuroformer.errors import UserError
from neuroformer.files import read_json

# Any of these makes a folder a run: what training, `evaluate` and `connectivity` write.
_TRACES_OF_A_RUN = ("log.csv", "checkpoints", "evaluate/metrics.json", "connectivity/metrics.json")
# Where the learning curve of a new animal stands in a run; `neuroformer fewshot` can also have a folder of its own.
FEWSHOT = "fewshot"


@dataclass(frozen=True)
class Score:
    """A number with its interval, where one was estimated."""

    value: float
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Raster:
    """A stretch of held-out recording beside the prediction.

    Attributes:
        time: (T,) start of each bin, s.
        counts: (T, N) events of each unit.
        intensity: (T, N) predicted events per bin.
        bin_s: width of a bin, s.
        session_id: which recording.
    """

    time: np.ndarray
    counts: np.ndarray
    intensity: np.ndarray
    bin_s: float
    session_id: str


@dataclass(frozen=True, kw_only=True)
class Couplings:
    """Estimated wiring of one session.

    Attributes:
        session_id: which recording.
        estimates: by estimator, (S, S) couplings `[source, target]`.
        meanings: by estimator, one sentence on what its numbers are, where the file has it.
        truth: (S, S) signed weights of a simulated circuit; `None` where nobody knows.
    """

    session_id: str
    estimates: Mapping[str, np.ndarray]
    meanings: Mapping[str, str]
    truth: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Fewshot:
    """The learning curve of animals that pretraining has not seen.

    Attributes:
        path: folder of the results.
        sentence: who wins, and from how many labels on.
        amounts: what the amounts of labels are, "of the labels" or "minutes".
        units: of the errors, by variable.
        rows: one per variable, score, method and amount; see `neuroformer.decoding.learning_curve.summarise`.
    """

    path: Path
    sentence: str
    amounts: str
    units: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]

    @property
    def targets(self) -> list[str]:
        """The variables."""
        return list(dict.fromkeys(row["target"] for row in self.rows))

    def unit_of(self, row: Mapping[str, Any], form: str = "{}") -> str:
        """The unit of a row's score after a space, in a form; "" for a score without one."""
        unit = self.units.get(row["target"], "") if row["metric"] in SCALED else ""
        return f" {form.format(unit)}" if unit else ""

    def at_fewest(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """For each variable the pretrained model and the best other method at the fewest labels, where both are."""
        pairs = [
            lead_and_rival(self.rows, name, min(row["amount"] for row in self.rows if row["target"] == name))
            for name in self.targets
        ]
        return [pair for pair in pairs if pair is not None]


@dataclass(frozen=True)
class Run:
    """A run folder, read on request.

    Attributes:
        path: the folder.
        name: how the report calls it.
    """

    path: Path
    name: str

    def metrics(self, stage: str = "") -> dict[str, Any] | None:
        """`metrics.json` of a stage (`""` is training, others are `evaluate`, `connectivity`, …), or `None`."""
        path = self.path / stage / "metrics.json"
        if not path.exists():
            return None
        metrics = read_json(path)
        if not isinstance(metrics, dict):
            raise UserError(
                f"{path}: found a {type(metrics).__name__}, expected an object; run the command again"
            )
        return metrics

    def likelihoods(self) -> dict[str, Score]:
        """Held-out bits per spike of the model and what it is compared with, best first; empty before `evaluate`."""
        metrics = self.metrics("evaluate") or {}
        bounds = _below(metrics, "intervals", "bits_per_spike")
        scores = {
            name: Score(value, _bounds(bounds.get(name)))
            for name, value in _below(metrics, "bits_per_spike").items()
            if _is_number(value)
        }
        return dict(sorted(scores.items(), key=lambda item: -item[1].value))

    def gain(self) -> Score | None:
        """Bits per spike that the model has over the Poisson GLM, with the interval of the paired difference."""
        difference = _below(self.metrics("evaluate") or {}, "difference", "model_minus_poisson_glm")
        if _is_number(difference.get("value")):
            return Score(difference["value"], _bounds(difference.get("interval")))
        scores = self.likelihoods()
        if "model" in scores and "poisson_glm" in scores:
            return Score(scores["model"].value - scores["poisson_glm"].value)
        return None

    def attained(self) -> Score | None:
        """Bits per spike of the model as a fraction of what the simulator's own intensities reach."""
        fraction = _below(self.metrics("evaluate") or {}, "fraction_of_truth")
        if not _is_number(fraction.get("value")):
            return None
        return Score(fraction["value"], _bounds(fraction.get("interval")))

    def wiring_scores(self) -> dict[str, dict[str, float]]:
        """Scores of every estimator against known wiring, highest average precision first; empty without truth."""
        scores = {
            estimator: {name: value for name, value in values.items() if _is_number(value)}
            for estimator, values in _below(self.metrics("connectivity") or {}, "connectivity").items()
            if isinstance(values, Mapping)
        }
        known = {name: values for name, values in scores.items() if "average_precision" in values}
        return dict(sorted(known.items(), key=lambda item: -item[1]["average_precision"]))

    def wiring_intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """95 % intervals of those scores, by estimator and score; empty where none were drawn."""
        known = {
            name: {key: _bounds(bounds) for key, bounds in _below(values, "intervals").items()}
            for name, values in _below(self.metrics("connectivity") or {}, "connectivity").items()
            if isinstance(values, Mapping)
        }
        return {name: {k: b for k, b in bounds.items() if b} for name, bounds in known.items() if bounds}

    def wiring_calls(self, session_id: str) -> dict[str, Mapping[str, Any]]:
        """What each estimator calls in a session: `n_called`, `called_share`, `n_pairs`, `q`, `strongest` pairs."""
        calls = _below(self.metrics("connectivity") or {}, "calls", session_id)
        return {name: entry for name, entry in calls.items() if isinstance(entry, Mapping)}

    def config(self, stage: str = "") -> dict[str, Any] | None:
        """The resolved settings of a stage, flat: `{"trainer.max_epochs": 3}`."""
        path = self.path / stage / "config.yaml"
        if not path.exists():
            return None
        try:
            content = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
            raise UserError(
                f"{path}: cannot be read as YAML ({_one_line(error)}); run the command again"
            ) from error
        return flatten(content)

    def table(self, name: str) -> dict[str, np.ndarray] | None:
        """A CSV file by column: float64 (NaN where a cell is empty) if every cell is a number, else text."""
        path = self.path / name
        if not path.exists():
            return None
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{path}: cannot be read as CSV ({_one_line(error)}); run the command again"
            ) from error
        names = [name for name in (rows[0] if rows else []) if name is not None]
        return {name: _column([row[name] or "" for row in rows]) for name in names}

    def raster(self) -> Raster | None:
        """`evaluate/raster.npz`."""
        path = self.path / "evaluate" / "raster.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as content:
                raster = Raster(
                    time=np.asarray(content["time"], dtype=float),
                    counts=np.asarray(content["counts"]),
                    intensity=np.asarray(content["intensity"], dtype=float),
                    bin_s=float(content["bin_s"]),
                    session_id=str(content["session_id"]),
                )
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise UserError(
                f"{path}: cannot be read ({_one_line(error)}); run `neuroformer evaluate` again"
            ) from error
        shape = (len(raster.time), raster.counts.shape[-1])
        for name in ("counts", "intensity"):
            found = getattr(raster, name).shape
            if found != shape:
                raise UserError(
                    f"{path}: {name} has shape {found}, expected {shape} (bins, units); "
                    "run `neuroformer evaluate` again"
                )
        return raster

    def fewshot(self) -> Fewshot | None:
        """What `neuroformer fewshot` left in the run's folder `fewshot`, or in the folder itself."""
        stage = "" if is_fewshot(self.path) else FEWSHOT
        metrics = self.metrics(stage)
        if metrics is None:
            return None
        path = self.path / stage
        try:
            return Fewshot(
                path=path,
                sentence=str(metrics["sentence"]),
                amounts=str(metrics["amounts"]),
                units={str(name): str(unit) for name, unit in metrics["units"].items()},
                rows=[_fewshot_row(row) for row in metrics["rows"]],
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path / 'metrics.json'}: is not what `neuroformer fewshot` writes ({_one_line(error)}); "
                "run it again"
            ) from error

    def couplings(self) -> list[Couplings] | None:
        """`connectivity/connectivity.h5`, in the file's order of sessions."""
        path = self.path / "connectivity" / "connectivity.h5"
        if not path.exists():
            return None
        try:
            with h5py.File(path, "r") as file:
                return [
                    _couplings(name, group) for name, group in file.items() if isinstance(group, h5py.Group)
                ]
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be read ({_one_line(error)}); run `neuroformer connectivity` again"
            ) from error


def find_runs(folder: Path) -> list[Run]:
    """The run in `folder` and those one level below it, by name.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; give the `out=` folder of a finished command")
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is a file, expected a run folder; give the `out=` folder of a finished command"
        )
    trained = is_run(folder)
    below = sorted(
        child
        for child in folder.iterdir()
        # The learning curve inside a run is shown with the run.
        if is_run(child) or (is_fewshot(child) and not (trained and child.name == FEWSHOT))
    )
    runs = [Run(folder, folder.resolve().name)] if trained or is_fewshot(folder) else []
    runs += [Run(child, child.name) for child in below]
    if runs:
        return runs
    parent = folder.resolve().parent
    if is_run(parent):
        raise UserError(
            f"{folder}: is a part of a run; give the run itself: neuroformer report {folder.parent}"
        )
    raise UserError(
        f"{folder}: found no run in it or in its subfolders (expected log.csv, checkpoints/, evaluate/ or "
        f"connectivity/); train first ({pretrain_command(folder)}) or run `neuroformer demo`"
    )


def pretrain_command(folder: Path) -> str:
    """What to type to train into a folder."""
    return f"neuroformer pretrain 'data.sessions=[FILE.h5]' out={folder}"


def resume_command(folder: Path) -> str:
    """What to type to finish training that stopped early."""
    return f"neuroformer pretrain --config {folder}/config.yaml resume={folder}/checkpoints/last.ckpt"


def flatten(content: object, prefix: str = "") -> dict[str, Any]:
    """Nested mappings, and lists of them, as one mapping with dotted keys.

    >>> flatten({"model": {"width": 64}, "sessions": [{"units": 60}], "bins": [1, 2]})
    {'model.width': 64, 'sessions.0.units': 60, 'bins': [1, 2]}
    """
    if isinstance(content, list) and content and all(isinstance(item, Mapping) for item in content):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def is_run(folder: Path) -> bool:
    """Whether a folder holds what training, `evaluate` or `connectivity` leave."""
    return any((folder / trace).exists() for trace in _TRACES_OF_A_RUN)


def is_fewshot(folder: Path) -> bool:
    """Whether a folder is what `neuroformer fewshot` makes."""
    return (folder / "cells").is_dir() and not is_run(folder)


def _fewshot_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose numbers are numbers; an interval that has none is `None`."""
    bounds = _bounds(row["interval"])
    gap = row["difference"]
    return {
        **{key: str(row[key]) for key in ("target", "metric", "method")},
        **{key: float(row[key]) for key in ("amount", "label_s", "mean")},
        "sessions": int(row["sessions"]),
        "interval": None if bounds is None else list(bounds),
        "difference": {"mean": gap["mean"], "interval": _bounds(gap["interval"])},
    }


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bounds(value: object) -> tuple[float, float] | None:
    match value:
        case [low, high] if _is_number(low) and _is_number(high):
            return float(low), float(high)
    return None


def _below(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The mapping under nested keys; empty where the path ends early."""
    for key in keys:
        below = content.get(key)
        if not isinstance(below, Mapping):
            return {}
        content = below
    return content


def _couplings(session_id: str, group: h5py.Group) -> Couplings:
    estimators = {
        name: item for name, item in group.items() if isinstance(item, h5py.Group) and "matrix" in item
    }
    estimates = {name: np.asarray(item["matrix"], dtype=float) for name, item in estimators.items()}
    meanings = {name: str(item.attrs.get("description", "")) for name, item in estimators.items()}
    truth = np.asarray(group["truth/weights"], dtype=float) if "truth/weights" in group else None
    expected = (len(group["unit_ids"]),) * 2
    for name, matrix in [*estimates.items(), *([("truth", truth)] if truth is not None else [])]:
        if matrix.shape != expected:
            raise ValueError(f"{session_id}/{name} has shape {matrix.shape}, expected {expected}")
    return Couplings(session_id=session_id, estimates=estimates, meanings=meanings, truth=truth)


def _column(cells: list[str]) -> np.ndarray:
    try:
        return np.array([float(cell) if cell.strip() else math.nan for cell in cells])
    except ValueError:
        return np.array(cells)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
