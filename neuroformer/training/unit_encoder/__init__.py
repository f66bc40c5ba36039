"""New units from their unlabelled activity, without a gradient step."""

from neuroformer.training.unit_encoder.encoder import Encoded, UnitEncoder
from neuroformer.training.unit_encoder.learning import learn_unit_encoder
from neuroformer.training.unit_encoder.tuning import tune_encoded

__all__ = ["Encoded", "UnitEncoder", "learn_unit_encoder", "tune_encoded"]
