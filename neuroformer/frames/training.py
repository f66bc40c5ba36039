"""Fit a decoder of frames: AdamW on windows of the training part, stopped by the validation part.

The same seed gives the same embedding, head and order of windows to backbones of the same width, so that models that
differ in the weights of their backbone alone differ in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from neuroformer.errors import UserError
from neuroformer.frames.backbones import build_backbone
from neuroformer.frames.decoder import FrameDecoder
from neuroformer.frames.embedding import FrameEmbedding
from neuroformer.frames.session import FrameSession, Stretch
from neuroformer.frames.windows import draw_windows, predict_stretch
from neuroformer.settings.backbones import BackboneConfig, BackbonesConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A fitted decoder.

    Attributes:
        model: with the weights that did best on validation.
        val_loss: mean squared error there, in standard deviations of the targets, mean over targets.
        step: after which these weights were found.
        n_trained: trained parameters.
        n_parameters: all of them.
    """

    model: FrameDecoder
    val_loss: float
    step: int
    n_trained: int
    n_parameters: int

    def predict(self, stretch: Stretch, config: BackbonesConfig, *, stride: int = 1) -> np.ndarray:
        """(T, D) standardised predictions of a stretch."""
        self.model.eval()
        device = next(self.model.head.parameters()).device

        @torch.no_grad()
        def predict(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
            mean, _ = self.model(torch.from_numpy(x).to(device), torch.from_numpy(seen).to(device))
            return mean.double().cpu().numpy()

        return predict_stretch(
            predict, stretch, config.window, last=config.prediction == "last", stride=stride
        )


def pick_device(name: str) -> str:
    """The device that `auto` stands for.

    Raises:
        UserError: CUDA is asked for and not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device={name}: torch finds no CUDA device here; use device=cpu")
    return name


def build_decoder(
    session: FrameSession, backbone: BackboneConfig, config: BackbonesConfig, *, seed: int
) -> FrameDecoder:
    """A decoder before training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = build_backbone(backbone, seed=seed, device=pick_device(config.device))
        torch.manual_seed(seed + 1)  # however many numbers the backbone drew
        embedding = FrameEmbedding(
            session.regions,
            body.width,
            scale=body.input_scale,
            region_width=config.region_width if config.embedding == "regions" else None,
            dropout=config.dropout,
        )
        return FrameDecoder(embedding, body, session.n_targets, gaussian=config.loss == "gaussian")


def train_decoder(
    session: FrameSession, backbone: BackboneConfig, config: BackbonesConfig, *, seed: int
) -> Trained:
    """Fit embedding, head and what is to be trained of the backbone.

    Raises:
        UserError: the backbone cannot be built, or nothing in training can be learned from.
    """
    device = pick_device(config.device)
    model = build_decoder(session, backbone, config, seed=seed).to(device)
    body = [p for p in model.backbone.parameters() if p.requires_grad]
    ours = [*model.embedding.parameters(), *model.head.parameters()]
    rate = config.lr_backbone if backbone.kind == "transformers" else config.lr
    groups = [{"params": ours, "lr": config.lr}, {"params": body, "lr": rate}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=config.weight_decay)
    windows = draw_windows(
        session.parts["train"], config.window, config.batch_size, np.random.default_rng(seed)
    )
    found = Trained(
        model=model, val_loss=np.inf, step=0, n_trained=sum(p.numel() for p in (*ours, *body)),
        n_parameters=sum(p.numel() for p in model.parameters()),
    )  # fmt: skip
    best, state, step_of_best, bad = np.inf, _trainable(model), 0, 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 2)  # dropout
        for step in range(1, config.steps + 1):
            model.train()
            batch = (torch.from_numpy(a).to(device) for a in next(windows))
            loss = model.loss(*batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([*ours, *body], 1.0)
            optimizer.step()
            if step % config.val_every and step != config.steps:
                continue
            val = validation_loss(found, session, config)
            if val < best:
                best, state, step_of_best, bad = val, _trainable(model), step, 0
            else:
                bad += 1
                if bad >= config.patience:
                    break
    if not np.isfinite(best):
        raise UserError(f"{session.path}: training went astray (loss {float(loss)}); lower lr")
    model.load_state_dict(state, strict=False)
    return Trained(
        model=model, val_loss=best, step=step_of_best, n_trained=found.n_trained,
        n_parameters=found.n_parameters,
    )  # fmt: skip


def validation_loss(trained: Trained, session: FrameSession, config: BackbonesConfig) -> float:
    """Squared error over the known targets of validation, mean over targets; windows overlap by three quarters."""
    stride = max(1, config.window // 4)
    error, count = np.zeros(session.n_targets), np.zeros(session.n_targets)
    for stretch in session.parts["val"]:
        said = trained.predict(stretch, config, stride=stride)
        error += np.where(stretch.known, (said - stretch.y) ** 2, 0).sum(0)
        count += stretch.known.sum(0)
    return float((error / count).mean())


def _trainable(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of what is trained, and of nothing else: the body of a frozen model is not copied."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
