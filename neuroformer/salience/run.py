"""Salience and its faithfulness for every model that a run of `neuroformer backbones` kept.

A cell (session, method, seed) is computed once and kept, so that a stopped run goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from neuroformer import __version__
from neuroformer.errors import UserError
from neuroformer.evaluation.block_draws import time_blocks
from neuroformer.frames.backbones.shuffle import shuffle_weights
from neuroformer.frames.fitted import Fitted, WindowRegression
from neuroformer.frames.linear import WindowFeatures, fit_linear
from neuroformer.frames.run import Cell, Experiment
from neuroformer.frames.session import FrameSession, open_recording
from neuroformer.frames.store import load, model_path
from neuroformer.salience.agreement import order, overlap, rank_correlation
from neuroformer.salience.attribution import Windows
from neuroformer.salience.deletion import by_block, curve, spread_counts
from neuroformer.salience.explain import SHOWN, Salience, explain, shuffled, spread
from neuroformer.settings.backbones import BackbonesConfig
from neuroformer.settings.salience import SalienceConfig

_NOT_COMPUTED = ("run", "out", "overwrite", "models")
_RETRAINED_ORDERS = 5


class SalienceExperiment:
    """The models of a run.

    Args:
        config: the settings.
        backbones: those of the run.

    Raises:
        UserError: a method is not in the run, or it kept no models.
    """

    def __init__(self, config: SalienceConfig, backbones: BackbonesConfig) -> None:
        """See the class."""
        self.config = config
        self.backbones = replace(backbones, device=config.device, out=config.run)
        self.fits = Experiment(self.backbones)
        there = {m.name: m for m in self.fits.methods if m.config.kind != "mean"}
        usual = [n for n, m in there.items() if not m.language_model or m.is_pretrained]
        self.models = config.models or usual
        for name in self.models:
            if name not in there:
                raise UserError(f"models: {config.run} has no {name!r}; it has {', '.join(there)}")
        for cell in self.cells():
            if not self._path(cell).exists():
                raise UserError(
                    f"{self._path(cell)}: no such file; run neuroformer backbones with keep_models=true, and to its end"
                )

    def cells(self) -> Iterator[Cell]:
        """All fits of the chosen methods."""
        for cell in self.fits.cells():
            if cell.method.name in self.models:
                yield cell

    def key(self, cell: Cell) -> str:
        """Stands for everything that a cell depends on."""
        told = {k: v for k, v in asdict(self.config).items() if k not in _NOT_COMPUTED}
        told |= {
            "fit": self.fits.key(cell),
            "kept": self._path(cell).stat().st_mtime_ns,
            "version": __version__,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]

    def told(self, cell: Cell, found: dict[str, Any]) -> str:
        """A line about a cell."""
        return f"{found['session']} {found['model']} seed {found['seed']}: {found['seconds']:.1f} s"

    def run(self, cell: Cell) -> dict[str, Any]:
        """Explain a model on one part, and test it on the test part."""
        began = time.monotonic()
        config = self.config
        session = self.fits.session(cell.file)
        fitted = load(self._path(cell), session=session, config=self.backbones)
        windows, seconds = choose_windows(fitted, session, self.backbones, config)
        n = session.n_units
        counts = spread_counts([*config.counts, highlight(config, n)], n)
        truth = self._truth(cell.file, n)
        bins = [len(s) for s in session.parts["test"]]
        block = time_blocks(bins, bin_s=self.backbones.bin_s, block_s=self.backbones.block_s)
        errors = _Errors(fitted, session, config.stride or max(1, self.backbones.window // 2))
        rng = np.random.default_rng(config.seed)
        orders = [rng.permutation(n) for _ in range(config.random)]
        full, empty = errors(np.ones(n, bool)), errors(np.zeros(n, bool))
        chance = {
            kind: np.stack([curve(errors, o, counts, insert=kind == "insertion") for o in orders])
            for kind in ("deletion", "insertion")
        }  # (R, K, T, D)
        other = shuffled(fitted, fitted.module, shuffle_weights, config.seed)
        targets = {}
        for name, at in session.columns.items():
            columns = list(range(at.start, at.stop))
            # Squared errors of all numbers of a target, in its unit.
            total = _Total(columns, session.scale)
            saliences = self._explain(fitted, windows, columns, config.saliences)
            cheap = [s for s in saliences if s != "occlusion"]
            random_weights = self._explain(other, windows, columns, cheap)
            targets[name] = {
                "full": by_block(total(full), block),
                "empty": by_block(total(empty), block),
                "random": {k: by_block(total(v), block) for k, v in chance.items()},
                "saliences": {
                    s: {
                        **_kept(found, seconds),
                        **{
                            kind: by_block(
                                total(curve(errors, order(found.units), counts, insert=kind == "insertion")),
                                block,
                            )
                            for kind in ("deletion", "insertion")
                        },
                        "shuffled_weights": None
                        if s not in random_weights
                        else {
                            "rank_correlation": rank_correlation(found.units, random_weights[s].units),
                            "overlap": overlap(found.units, random_weights[s].units, highlight(config, n)),
                        },
                        "average_precision": None
                        if truth is None
                        else float(average_precision_score(truth, found.units)),
                    }
                    for s, found in saliences.items()
                },
            }
            if config.retrain and isinstance(fitted.module, WindowRegression):
                targets[name]["retrained"] = self._retrained(
                    cell, session, saliences, orders, highlight(config, n), total, block
                )
        return {
            "session": session.name,
            "model": cell.method.name,
            "seed": cell.seed,
            "units": n,
            "counts": counts,
            "highlight": highlight(config, n),
            "true_units": None if truth is None else int(truth.sum()),
            "targets": targets,
            "seconds": time.monotonic() - began,
        }

    def positions(self) -> np.ndarray | None:
        """(N, 2 or 3) of the units of the first session, if it has them."""
        found = open_recording(self.fits.files[0], self.backbones).session.units.get("position")
        return None if found is None or not np.isfinite(found).all() else np.asarray(found)

    def _path(self, cell: Cell) -> Path:
        return model_path(self.config.run, self.fits.names[cell.file], cell.method.name, cell.seed)

    def _explain(
        self, fitted: Fitted, windows: Windows, columns: list[int], saliences: list[str]
    ) -> dict[str, Salience]:
        return explain(
            fitted,
            windows,
            columns,
            saliences=saliences,
            steps=self.config.steps,
            max_occlusions=self.config.max_occlusions,
        )

    def _truth(self, file: str, n: int) -> np.ndarray | None:
        """(N,) bool: the units that should be found."""
        if not self.config.truth:
            return None
        columns = open_recording(file, self.backbones).session.units
        if self.config.truth not in columns:
            raise UserError(
                f"truth={self.config.truth}: the units of {file} have no such column; they have {', '.join(columns)}"
            )
        found = np.asarray(columns[self.config.truth]).astype(float) != 0
        if not 0 < found.sum() < n:
            raise UserError(
                f"truth={self.config.truth}: {int(found.sum())} of {n} units of {file}; expected some"
            )
        return found

    def _retrained(
        self,
        cell: Cell,
        session: FrameSession,
        saliences: dict[str, Salience],
        orders: list[np.ndarray],
        k: int,
        total: _Total,
        block: np.ndarray,
    ) -> dict[str, Any]:
        """Squared errors of ridge that was fitted again without k units."""
        centered = cell.method.config.causal is False

        def errors(units: np.ndarray) -> np.ndarray:
            less = _without(session, units)
            reach = self.backbones.window - 1
            fit = fit_linear(
                less,
                WindowFeatures(less, self.backbones.window, centered=centered),
                self.backbones.penalties,
                skip=(reach, reach if centered else 0),
            )
            return by_block(total(_squared(less, [fit.predict(s) for s in less.parts["test"]])), block)

        return {
            "saliences": {s: errors(order(found.units)[:k]) for s, found in saliences.items()},
            "random": np.stack([errors(o[:k]) for o in orders[:_RETRAINED_ORDERS]]),
        }


def highlight(config: SalienceConfig, n: int) -> int:
    """Units of the sentences: as many as asked for, or a third of few."""
    return config.highlight if n >= 2 * config.highlight else max(1, n // 3)


def choose_windows(
    fitted: Fitted, session: FrameSession, backbones: BackbonesConfig, config: SalienceConfig
) -> tuple[Windows, np.ndarray]:
    """Windows spread over a part, without gaps if there are such, and the time of each explained bin (seconds).

    Where a bin's prediction is the mean over all windows that hold it, each place in the window is explained as often
    as any other.

    Raises:
        UserError: the part has no such window.
    """
    places, bins = [], 0
    for k, stretch in enumerate(session.parts[config.part]):
        seen = np.convolve(stretch.seen, np.ones(fitted.size), "valid") / fitted.size
        first = stretch.lead - (fitted.position or 0)  # so that what is explained lies within the part
        places += [
            (k, s, bins + s - stretch.lead, seen[s])
            for s in range(max(0, first), len(seen))
            if seen[s] >= 0.5
        ]
        bins += len(stretch)
    if not places:
        raise UserError(
            f"{session.path}: no stretch of {fitted.size} frames with activity in half of them in its {config.part} "
            "part; choose another split, or part=train"
        )
    whole = [p for p in places if p[3] > 1 - 1e-9]
    places = whole or places  # windows with gaps only where there are no others
    chosen = [places[i] for i in spread(len(places), config.windows).tolist()]
    stretches = session.parts[config.part]
    x = np.stack([stretches[k].x[s : s + fitted.size] for k, s, *_ in chosen])
    seen = np.stack([stretches[k].seen[s : s + fitted.size] for k, s, *_ in chosen])
    at = fitted.position
    # Steps that share no factor with the size visit all places, not in the order of time.
    step = next(
        j for j in range(max(1, round(0.618 * fitted.size)), 2 * fitted.size) if np.gcd(j, fitted.size) == 1
    )
    position = np.arange(len(chosen)) * step % fitted.size if at is None else np.full(len(chosen), at)
    seconds = (np.array([b for _, _, b, _ in chosen]) + position) * backbones.bin_s
    device = fitted.device
    tensors = (torch.from_numpy(each).to(device) for each in (x, position, seen))
    return Windows(**dict(zip(("x", "position", "seen"), tensors, strict=True))), seconds


class _Errors:
    """Squared errors (T, D) of the test part, standardised, with some units alone."""

    def __init__(self, fitted: Fitted, session: FrameSession, stride: int) -> None:
        self._fitted, self._session, self._stride = fitted, session, stride

    def __call__(self, kept: np.ndarray) -> np.ndarray:
        test = [replace(s, x=np.where(kept, s.x, np.float32(0))) for s in self._session.parts["test"]]
        return _squared(self._session, [self._fitted.predict(s, stride=self._stride) for s in test])


class _Total:
    """From squared errors (..., D), standardised, to those of one target in its unit (...)."""

    def __init__(self, columns: list[int], scale: np.ndarray) -> None:
        self._columns, self._scale = columns, scale[columns]

    def __call__(self, errors: np.ndarray) -> np.ndarray:
        found: np.ndarray = (errors[..., self._columns] * self._scale**2).mean(-1)
        return found


def _squared(session: FrameSession, said: list[np.ndarray]) -> np.ndarray:
    test = session.parts["test"]
    return np.concatenate(
        [np.where(s.known, (p - s.y) ** 2, np.nan) for p, s in zip(said, test, strict=True)]
    )


def _without(session: FrameSession, units: np.ndarray) -> FrameSession:
    def less(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[:, units] = 0
        return x

    return replace(
        session, parts={p: [replace(s, x=less(s.x)) for s in all_] for p, all_ in session.parts.items()}
    )


def _kept(found: Salience, seconds: np.ndarray) -> dict[str, Any]:
    """What stays of a salience: all units, and the course of the most salient ones."""
    top = order(found.units)[:SHOWN]
    times = seconds[spread(len(seconds), found.n_windows).numpy()]
    return {
        "units": found.units,
        "top": top,
        "times": times,
        "over_time": found.signed[:, top].T,
        "by_lag": None if found.by_lag is None else found.by_lag[:, top].T,
        "residual": found.residual,
        "windows": found.n_windows,
    }
