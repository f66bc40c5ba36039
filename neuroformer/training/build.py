"""From a vocabulary to a model with room for its sessions."""

from __future__ import annotations

import math

import torch

from neuroformer.data import SessionEntry, Vocabulary
from neuroformer.data.variables import VariableEntry
from neuroformer.model import ModelConfig, Neuroformer, SessionShape
from neuroformer.model.encoders import VariableShape


def session_shape(entry: SessionEntry) -> SessionShape:
    """What the model must know of a session."""
    counts = torch.as_tensor(entry.level_counts, dtype=torch.float32)
    return SessionShape(
        rate=torch.as_tensor(entry.train_rate, dtype=torch.float32),
        train_bins=entry.train_bins,
        level_frequency=counts / counts.sum() if len(counts) else torch.ones(1),
    )


def build_model(config: ModelConfig, vocabulary: Vocabulary, *, n_levels: int | None = None) -> Neuroformer:
    """A new model for the sessions of a vocabulary; initial weights come from PyTorch's generator.

    Args:
        config: settings.
        vocabulary: the sessions.
        n_levels: amplitude levels; by default the most that a session has.
    """
    shapes = [session_shape(entry) for entry in vocabulary]
    n_levels = vocabulary.n_levels if n_levels is None else n_levels
    return Neuroformer(
        config=config,
        bin_s=vocabulary.bin_s,
        sessions=shapes,
        n_levels=n_levels,
        variables=[variable_shape(entry, vocabulary.bin_s) for entry in vocabulary.variables.values()],
    )


def variable_shape(entry: VariableEntry, bin_s: float) -> VariableShape:
    """What the model must know of a variable."""
    # A frame stays until the next one, so it is looked at for that long at least.
    stays = 1.5 * entry.interval_s if entry.kind == "frames" else 0.0
    return VariableShape(
        name=entry.name,
        kind=entry.kind,
        shape=entry.shape,
        n_labels=len(entry.labels),
        period=entry.period,
        mean=entry.mean,
        scale=entry.scale,
        lower=entry.lower,
        upper=entry.upper,
        functions=entry.settings.functions,
        horizon=math.ceil(max(entry.settings.horizon_s, stays) / bin_s - 1e-6),
        is_input=entry.is_input,
        is_decoded=entry.is_decoded,
        encoder=entry.settings.encoder,
        source=entry.settings.source,
        stays=math.ceil(stays / bin_s - 1e-6) if entry.kind == "frames" else None,
    )
