"""Sampling activity from a trained model: events as arrays, and as session files."""

from neuroformer.generation.ceiling import fit_ceiling
from neuroformer.generation.sampler import Forced, Sampled, Sampler, Sampling
from neuroformer.generation.session_file import generated_by, generated_session
from neuroformer.generation.stretches import (
    GenerationOptions,
    Stimulus,
    Stretch,
    generate_part,
    generate_spans,
)

__all__ = [
    "Forced",
    "GenerationOptions",
    "Sampled",
    "Sampler",
    "Sampling",
    "Stimulus",
    "Stretch",
    "fit_ceiling",
    "generate_part",
    "generate_spans",
    "generated_by",
    "generated_session",
]
