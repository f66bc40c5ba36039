"""Generative modelling of multi-animal neural recordings."""

__version__ = "0.1.0"
