"""Decoding from frames of the population, one token a bin: language models as backbones, and their controls."""
