"""The model: plain modules that know neither files nor a training framework."""

from neuroformer.model.neuroformer import Likelihood, Neuroformer, SessionShape
from neuroformer.settings.model import CouplingConfig, HistoryConfig, ModelConfig, TrunkConfig, context_bins

__all__ = [
    "CouplingConfig",
    "HistoryConfig",
    "Likelihood",
    "ModelConfig",
    "Neuroformer",
    "SessionShape",
    "TrunkConfig",
    "context_bins",
]
