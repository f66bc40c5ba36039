"""All fits of a run. A cell (session, method, seed) is computed once and kept, so that a stopped run goes on."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from neuroformer import __version__
from neuroformer.data import find_sessions
from neuroformer.errors import UserError
from neuroformer.evaluation.block_draws import time_blocks
from neuroformer.frames.fitted import Fitted, ReservoirRegression, WindowRegression
from neuroformer.frames.linear import Features, WindowFeatures, fit_linear
from neuroformer.frames.methods import Method, list_methods, match_trunk
from neuroformer.frames.reservoir import draw_reservoir, reservoir_features
from neuroformer.frames.session import FrameSession, in_units, open_recording, read_session
from neuroformer.frames.store import keep, model_path
from neuroformer.frames.training import build_decoder, train_decoder
from neuroformer.settings.backbones import BackboneConfig, BackbonesConfig

_NOT_FITTED = ("out", "overwrite", "sessions", "backbones", "models", "seeds", "layers", "tuning", "workers")
"""Settings that change which cells there are, not what is in one."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fit: a method on the session of a file with a seed."""

    file: str
    method: Method
    seed: int


class Experiment:
    """The sessions and methods of a run.

    Args:
        config: the settings.

    Raises:
        UserError: a session or a target is not there, or two files hold one session.
    """

    def __init__(self, config: BackbonesConfig) -> None:
        """See the class."""
        self.config = config
        self.files = [str(path) for path in find_sessions(config.sessions)]
        self.methods = list_methods(config)
        names: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.units: dict[str, str] = {}
        for file in self.files:
            recording = open_recording(file, config)
            if recording.session_id in names:
                raise UserError(
                    f"{file}: session_id {recording.session_id!r} is also that of {names[recording.session_id]}; give "
                    "every session its own"
                )
            names[recording.session_id] = file
            self.names[file] = recording.session_id
            for name in config.targets:
                self.units[name] = recording.variables[name].info.unit
        self._read: tuple[str, FrameSession] | None = None

    def cells(self) -> Iterator[Cell]:
        """All cells, method by method; those without randomness have the first seed alone.

        What has to do with one language model stands together, so that its checkpoint is read once.
        """
        for method in self.methods:
            for file in self.files:
                for seed in self.config.seeds if method.is_drawn else self.config.seeds[:1]:
                    yield Cell(file=file, method=method, seed=seed)

    def key(self, cell: Cell) -> str:
        """Stands for everything that a cell depends on."""
        told = {k: v for k, v in asdict(self.config).items() if k not in _NOT_FITTED}
        told |= {"file": cell.file, "changed": Path(cell.file).stat().st_mtime_ns, "seed": cell.seed}
        told |= {"method": asdict(cell.method), "version": __version__}
        if cell.method.matched:
            told["matches"] = asdict(self._language_model(cell.method))
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]

    def session(self, file: str) -> FrameSession:
        """Frames of a file; the last one is kept."""
        if self._read is None or self._read[0] != file:
            self._read = (file, read_session(open_recording(file, self.config), self.config))
        return self._read[1]

    def told(self, cell: Cell, found: dict[str, Any]) -> str:
        """A line about a cell: what it is, how long it took and its validation error."""
        loss = found.get("val_loss")
        error = "" if loss is None else f", validation error {loss:.3f} of the variance"
        return f"{found['session']} {cell.method.name} seed {cell.seed}: {found['seconds']:.1f} s{error}"

    def run(self, cell: Cell) -> dict[str, Any]:
        """Fit and predict the test part: truth and prediction of each target in its unit, with NaN where unknown."""
        gc.collect()  # the model of the cell before
        began = time.monotonic()
        session = self.session(cell.file)
        found = self._fit(session, cell)
        test = session.parts["test"]
        predict, fitted, backbone = (found.pop(name, None) for name in ("predict", "fitted", "backbone"))
        if self.config.keep_models and fitted is not None:
            path = model_path(self.config.out, session.name, cell.method.name, cell.seed)
            keep(path, fitted, backbone=backbone, seed=cell.seed, session=session)
        said = np.concatenate(in_units(session, [predict(stretch) for stretch in test]))
        if not np.isfinite(said).all():
            raise UserError(f"{cell.file}: {cell.method.name} predicts NaN or infinity; lower lr")
        truth = np.concatenate(
            in_units(session, [np.where(s.known, s.y.astype(float), np.nan) for s in test])
        )
        blocks = time_blocks([len(s) for s in test], bin_s=self.config.bin_s, block_s=self.config.block_s)
        return {
            "session": session.name,
            "method": cell.method.name,
            "language_model": cell.method.language_model,
            "seed": cell.seed,
            "units": session.n_units,
            "train_bins": sum(map(len, session.parts["train"])),
            "test_bins": len(truth),
            **found,
            "seconds": time.monotonic() - began,
            "block": blocks,
            "targets": {
                name: {"truth": truth[:, at], "mean": said[:, at]} for name, at in session.columns.items()
            },
        }

    def _language_model(self, method: Method) -> BackboneConfig:
        return next(m.config for m in self.methods if m.name == method.language_model)

    def _fit(self, session: FrameSession, cell: Cell) -> dict[str, Any]:
        config, backbone = self.config, cell.method.config
        if backbone.kind == "mean":
            return {"predict": lambda stretch: np.zeros((len(stretch), session.n_targets)),
                    "causal": True, "n_trained": session.n_targets, "n_parameters": session.n_targets}  # fmt: skip
        if backbone.kind in ("ridge", "reservoir"):
            return self._fit_linear(session, backbone, cell.seed)
        if cell.method.matched:
            backbone = self._matched(session, cell)
        trained = train_decoder(session, backbone, config, seed=cell.seed)
        trained.model.eval()
        causal = trained.model.backbone.causal
        last = config.prediction == "last"
        return {
            "predict": lambda stretch: trained.predict(stretch, config),
            "fitted": Fitted(
                module=trained.model,
                size=config.window,
                position=config.window - 1 if last else None,
                causal=causal,
            ),
            "backbone": backbone,
            "causal": causal,
            "n_trained": trained.n_trained,
            "n_parameters": trained.n_parameters,
            "val_loss": trained.val_loss,
            "step": trained.step,
        }

    def _fit_linear(self, session: FrameSession, backbone: BackboneConfig, seed: int) -> dict[str, Any]:
        size = self.config.window
        reach = size - 1
        causal = backbone.kind == "reservoir" or backbone.causal is not False
        features: Features
        if backbone.kind == "ridge":
            features = WindowFeatures(session, size, centered=not causal)
        else:
            inward, network = draw_reservoir(session.n_units, backbone, seed=seed)
            features = reservoir_features(inward, network, size=size)
        fit = fit_linear(session, features, self.config.penalties, skip=(reach, 0 if causal else reach))
        if isinstance(features, WindowFeatures):
            module: nn.Module = WindowRegression(features.of_units(fit.weights), fit.intercept, before=reach)
        else:
            module = ReservoirRegression(inward, network, fit.weights, fit.intercept)
        n = fit.weights.size + fit.intercept.size
        seen = size if causal else 2 * size - 1
        fitted = Fitted(module=module, size=seen, position=reach, causal=causal)
        return {"predict": fit.predict, "fitted": fitted, "backbone": backbone, "causal": causal, "n_trained": n,
                "n_parameters": n, "val_loss": fit.val_loss, "penalty": fit.penalty}  # fmt: skip

    def _matched(self, session: FrameSession, cell: Cell) -> BackboneConfig:
        """The trunk with as many trained parameters as the language model on this session."""
        settings = replace(self._language_model(cell.method), weights="pretrained")
        model = build_decoder(session, settings, self.config, seed=cell.seed)
        wanted = sum(p.numel() for p in model.parameters() if p.requires_grad)
        causal = model.backbone.causal
        shared = sum(p.numel() for p in model.embedding.maps.parameters())
        return match_trunk(
            wanted - shared,
            n_inputs=model.embedding.out.in_features,
            n_targets=model.head.out_features,
            causal=causal,
        )
