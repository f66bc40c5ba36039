"""Fitted decoders on disk: what was trained of them, and what the rest is built anew from.

The body of a frozen language model is not kept: it comes from its checkpoint, or from its seed, and a fingerprint says
whether it came back as it was.
"""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuroformer import __version__
from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.frames.fitted import Fitted, ReservoirRegression, WindowRegression
from neuroformer.frames.reservoir import draw_reservoir
from neuroformer.frames.session import FrameSession
from neuroformer.frames.training import build_decoder, pick_device
from neuroformer.settings.backbones import BackboneConfig, BackbonesConfig


def model_path(folder: str | Path, session: str, method: str, seed: int) -> Path:
    """Where a run keeps the model of a cell."""
    return Path(folder) / "models" / session / f"{method}_seed{seed}.pt"


def keep(path: Path, fitted: Fitted, *, backbone: BackboneConfig, seed: int, session: FrameSession) -> None:
    """Write what `load` needs, atomically; only builtins and tensors.

    Args:
        path: of the file.
        fitted: what was fitted.
        backbone: its settings, those of a matched trunk with the width that was found.
        seed: that it was built with.
        session: that it was fitted to.
    """
    trained, rest = _parameters(fitted.module)
    content = {
        "version": __version__,
        "backbone": asdict(backbone),
        "seed": seed,
        "session": session.name,
        "n_units": session.n_units,
        "n_targets": session.n_targets,
        "trained": {name: value.detach().cpu() for name, value in trained.items()},
        "fingerprint": _fingerprint(rest),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load(path: Path, *, session: FrameSession, config: BackbonesConfig) -> Fitted:
    """A decoder as it was fitted.

    Args:
        path: of a file written by `keep`.
        session: that it was fitted to.
        config: settings of that run.

    Raises:
        UserError: there is no such file, it is broken, or it belongs to other units, targets or weights.
    """
    kept = _read(path)
    if (kept["n_units"], kept["n_targets"]) != (session.n_units, session.n_targets):
        raise UserError(
            f"{path}: fitted to {kept['n_units']} units and {kept['n_targets']} numbers of behaviour, {session.path} "
            f"has {session.n_units} and {session.n_targets}; run neuroformer backbones again"
        )
    backbone = BackboneConfig(**kept["backbone"])
    fitted = _build(backbone, kept, session=session, config=config)
    trained, rest = _parameters(fitted.module)
    if trained.keys() != kept["trained"].keys():
        raise UserError(f"{path}: holds other weights than this version's models have; fit it again")
    with torch.no_grad():
        for name, value in kept["trained"].items():
            trained[name].copy_(value)
    if not np.allclose(_fingerprint(rest), kept["fingerprint"], rtol=1e-5):
        raise UserError(
            f"{path}: the weights around those that were trained ({backbone.path or backbone.kind}) are not those of "
            "the fit; take the same checkpoint and the same versions of torch and transformers, or fit it again"
        )
    fitted.module.eval()
    return fitted


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; run neuroformer backbones with keep_models=true, which keeps what it fits"
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{path}: not a model of neuroformer backbones ({type(error).__name__})") from error
    return found


def _build(
    backbone: BackboneConfig, kept: dict[str, Any], *, session: FrameSession, config: BackbonesConfig
) -> Fitted:
    """The decoder with whatever weights."""
    size, trained = config.window, kept["trained"]
    if backbone.kind == "ridge":
        causal = backbone.causal is not False
        module: nn.Module = WindowRegression(
            np.zeros(trained["weights"].shape), np.zeros(session.n_targets), before=size - 1
        )
        return Fitted(module=module, size=size if causal else 2 * size - 1, position=size - 1, causal=causal)
    if backbone.kind == "reservoir":
        inward, network = draw_reservoir(session.n_units, backbone, seed=kept["seed"])
        weights = np.zeros((network.width, session.n_targets))
        module = ReservoirRegression(inward, network, weights, np.zeros(session.n_targets))
        return Fitted(module=module, size=size, position=size - 1, causal=True)
    decoder = build_decoder(session, backbone, config, seed=kept["seed"]).to(pick_device(config.device))
    position = size - 1 if config.prediction == "last" else None
    return Fitted(module=decoder, size=size, position=position, causal=decoder.backbone.causal)


def _parameters(module: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What is fitted of a module, and what is not."""
    fitted = [n for n, p in module.named_parameters() if p.requires_grad]
    if isinstance(module, WindowRegression | ReservoirRegression):
        fitted = ["weights", "intercept"]
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    return {n: named[n] for n in fitted}, {n: v for n, v in named.items() if n not in fitted}


def _fingerprint(tensors: dict[str, torch.Tensor]) -> list[float]:
    """Sums over all entries of their size and of their size weighted by place."""
    total = [0.0, 0.0]
    for _, value in sorted(tensors.items()):
        if value.is_floating_point():
            flat = value.detach().double().cpu().flatten()
            total[0] += float(flat.abs().sum())
            total[1] += float((flat * torch.linspace(0, 1, len(flat), dtype=torch.float64)).sum())
    return total
