"""Behaviour from events with a trained model: readouts, inversion of the encoder by Bayes, and both together."""
