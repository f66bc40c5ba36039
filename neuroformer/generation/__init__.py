"""Sampling activity from a trained model."""
