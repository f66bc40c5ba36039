"""Scores of models on held-out time, beside their baselines and, for simulated sessions, the truth."""
