"""Backbones: from tokens of frames to hidden states, all with one interface."""

from neuroformer.frames.backbones.backbone import Backbone
from neuroformer.frames.backbones.build import build_backbone

__all__ = ["Backbone", "build_backbone"]
