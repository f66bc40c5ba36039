"""One session as every method decodes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.baselines.decoding import Target
from neuroformer.decoding.arrays import Stretches, Truth
from neuroformer.decoding.leak import Leak
from neuroformer.decoding.methods import Estimate
from neuroformer.decoding.scoring import HALF_WIDTH, Samples, Trials
from neuroformer.files import atomic_path


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionDecoding:
    """One session, decoded.

    Attributes:
        session_id: whose.
        bin_s: width of a bin in seconds.
        targets: the variables.
        test: events of the scored part.
        truth: labels of the scored part, by variable.
        estimates: by variable and method.
        factors: that calibrate the spreads, by variable and method.
        trials: of variables that hold for a trial.
        trial_samples: one decision per trial, by variable and method.
        leaks: leak checks.
        about: what was chosen and counted, for metrics.json.
    """

    session_id: str
    bin_s: float
    targets: dict[str, Target]
    test: Stretches
    truth: dict[str, Truth]
    estimates: dict[str, dict[str, Estimate]]
    factors: dict[str, dict[str, np.ndarray]]
    trials: dict[str, Trials]
    trial_samples: dict[str, dict[str, Samples]]
    leaks: list[Leak]
    about: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write time, stretch, VARIABLE.truth, VARIABLE.known and VARIABLE.METHOD.* to an npz file."""
        arrays: dict[str, np.ndarray] = {
            "time": np.concatenate(self.test.time),
            "stretch": np.repeat(np.arange(len(self.test.time)), [len(t) for t in self.test.time]),
        }
        for name, truth in self.truth.items():
            values, known = truth.flat()
            arrays |= {f"{name}.truth": values, f"{name}.known": known}
            for method, estimate in self.estimates[name].items():
                arrays |= {
                    f"{name}.{method}.{what}": values
                    for what, values in self.arrays_of(name, method, estimate).items()
                }
            for method, samples in self.trial_samples.get(name, {}).items():
                said = samples.mean if samples.mean is not None else samples.probability
                assert said is not None
                arrays |= {f"{name}.trial_truth": samples.truth, f"{name}.{method}.trial": said}
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **{"session_id": np.array(self.session_id), **arrays})  # type: ignore[arg-type]

    def arrays_of(self, name: str, method: str, estimate: Estimate) -> dict[str, np.ndarray]:
        """Mean, spread (calibrated), lower and upper end of the 80 % interval; or probabilities; all stretches."""
        found: dict[str, np.ndarray] = {}
        if estimate.probability is not None:
            found["probability"] = np.concatenate(estimate.probability).astype(np.float32)
        if estimate.mean is not None:
            mean = found["mean"] = np.concatenate(estimate.mean)
            if estimate.spread is not None:
                spread = np.concatenate(estimate.spread) * self.factors[name].get(method, np.ones(1))
                period = self.targets[name].period
                lower, upper = mean - HALF_WIDTH * spread, mean + HALF_WIDTH * spread
                if period is not None:
                    lower, upper = lower % period, upper % period
                found |= {"spread": spread, "lower": lower, "upper": upper}
        if estimate.posterior is not None and estimate.axis is not None:
            found["posterior"] = np.concatenate(estimate.posterior).astype(np.float32)
            found["edges"] = estimate.axis.edges
        return found
