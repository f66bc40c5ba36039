"""Forecasts of every unit's traces or counts, given the past, by horizon."""

from neuroformer.forecasting.run import Experiment, forecast

__all__ = ["Experiment", "forecast"]
