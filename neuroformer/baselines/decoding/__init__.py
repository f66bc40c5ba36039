"""Decoders of behaviour as a lab would fit them to the same labels; arrays in, arrays out."""

from neuroformer.baselines.decoding.build import DECODERS, build_decoder, decoders_for
from neuroformer.baselines.decoding.decoder import Decoder
from neuroformer.baselines.decoding.grid import Grid
from neuroformer.baselines.decoding.labels import labelled_subset
from neuroformer.baselines.decoding.target import Prediction, Target

__all__ = [
    "DECODERS",
    "Decoder",
    "Grid",
    "Prediction",
    "Target",
    "build_decoder",
    "decoders_for",
    "labelled_subset",
]
