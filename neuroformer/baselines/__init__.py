"""Baselines that a score stands beside, fitted on the same training data with the same history."""
