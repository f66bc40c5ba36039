"""From a vocabulary to a model with room for its sessions."""

from __future__ import annotations

import torch

from neuroformer.data import SessionEntry, Vocabulary
from neuroformer.model import ModelConfig, Neuroformer, SessionShape


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
    return Neuroformer(config=config, bin_s=vocabulary.bin_s, sessions=shapes, n_levels=n_levels)
