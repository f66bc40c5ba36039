"""Every estimator by its name, on one session: what each needs, and how it is called."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from neuroformer.baselines.glm import PoissonGLM, fit_glm
from neuroformer.baselines.many_basis_glm import fit_many_basis_glm
from neuroformer.batch import Batch
from neuroformer.connectivity import classical
from neuroformer.connectivity.adjusted import adjusted_map
from neuroformer.connectivity.counts import BinnedCounts, bin_events
from neuroformer.connectivity.cross_correlation import cross_correlation
from neuroformer.connectivity.estimate import ConnectivityMap, from_lag_profile
from neuroformer.connectivity.interventions import silencing, stimulation
from neuroformer.connectivity.model_maps import coupling, fitted_coupling, fitted_glm
from neuroformer.connectivity.moments import LogLinearCoupling
from neuroformer.connectivity.trunk_attention import attention_gradient, attention_rollout, self_attention
from neuroformer.connectivity.trunk_gate import gated_intensity
from neuroformer.data import DataConfig, Recording, RecordingsModule
from neuroformer.evaluation.run import session_glm
from neuroformer.evaluation.trained_run import TrainedRun
from neuroformer.model import Neuroformer
from neuroformer.session import Session
from neuroformer.settings.connectivity import ConnectivityConfig
from neuroformer.settings.many_basis_glm import ManyBasisGLMConfig

SIZE = "change of the target's log-intensity after an event of the source, its size over lags"


class Subject:
    """One session, and what the estimators read of it; what is costly is made once, when it is first asked for.

    Args:
        file: the session file.
        config: settings; `bin_s` and `lags` must be given.
        run: a pretrain run that knows the session, or None.
    """

    def __init__(self, *, file: Path, config: ConnectivityConfig, run: TrainedRun | None) -> None:
        """See the class."""
        assert config.bin_s is not None
        assert config.lags is not None
        self.file, self.config, self.run = file, config, run
        self.bin_s, self.lags = config.bin_s, config.lags

    @cached_property
    def data(self) -> RecordingsModule:
        """The run's sessions as it split them, or this one alone in the default split."""
        if self.run is not None:
            return self.run.data
        settings = DataConfig(sessions=[str(self.file)], bin_s=self.bin_s)
        longest = max(self.glm_window_s, self.glm_history_window_s)
        return RecordingsModule(config=settings, context_bins=max(1, round(longest / self.bin_s)))

    @cached_property
    def recording(self) -> Recording:
        """This session, split."""
        return next(r for r in self.data.recordings if Path(r.session.path) == self.file)

    @cached_property
    def session(self) -> Session:
        """The session file."""
        return Session(self.file)

    @cached_property
    def counts(self) -> BinnedCounts:
        """All of the session, in the bins of the classical methods."""
        return bin_events(self.session, bin_s=self.bin_s)

    @cached_property
    def training(self) -> list[Batch]:
        """The training part in order: what the model and the GLMs were fitted to."""
        return [batch for _, batch in self.data.in_order("train", [self.recording])]

    @property
    def model(self) -> Neuroformer:
        """The trained model."""
        assert self.run is not None
        return self.run.trained.model

    @property
    def index(self) -> int:
        """Of the session in the model's vocabulary."""
        assert self.run is not None
        return self.run.session_index(self.recording)

    @cached_property
    def fitted_model(self) -> LogLinearCoupling:
        """The model's coupling, with as much of the trunk as pays on the validation part."""
        validation = [batch for _, batch in self.data.in_order("val", [self.recording])]
        intensity, _ = gated_intensity(self.model, self.training, validation)
        return fitted_coupling(self.model, self.index, self.recording, log_intensity=intensity)

    @cached_property
    def glm(self) -> PoissonGLM:
        """The Poisson GLM with learned kernels."""
        if self.run is not None:
            return session_glm(self.run, self.recording, self.config.glm)
        config = dataclasses.replace(
            self.config.glm, window_s=self.glm_window_s, history_window_s=self.glm_history_window_s
        )
        return fit_glm(self.recording, config=config)

    @property
    def glm_window_s(self) -> float:
        """Longest lag of the GLMs in seconds: as set, or the model's, or that of the classical methods."""
        model = self.lags * self.bin_s if self.run is None else self.model.config.coupling.window_s
        return self.config.glm.window_s or model

    @property
    def glm_history_window_s(self) -> float:
        """Longest lag of the GLMs' own history in seconds, by the same order."""
        model = self.lags * self.bin_s if self.run is None else self.model.config.history.window_s
        return self.config.glm.history_window_s or model

    def rng(self) -> np.random.Generator:
        """A fresh generator: an estimate does not depend on which others were asked for."""
        return np.random.default_rng(self.config.seed)


def _glm_map(subject: Subject, glm: PoissonGLM, name: str) -> ConnectivityMap:
    """Size over lags of a fitted GLM's kernels; p-values of the one-step estimate against shifted sources."""
    profile = glm.coupling_map().double().numpy()
    estimate = from_lag_profile(name, profile, subject.recording.bin_s, description=SIZE)
    return dataclasses.replace(estimate, p_values=_one_step(subject, glm, name).p_values)


def _one_step(subject: Subject, glm: PoissonGLM, name: str) -> ConnectivityMap:
    """The one-step estimate of a GLM in its own kernels, in standard errors, against shifted sources alone."""
    fitted = fitted_glm(glm, subject.recording)
    return adjusted_map(fitted, subject.training, name=name, control=False, functions=None)


def _many_basis_glm(penalty: Literal["group_lasso", "ridge"]) -> Callable[[Subject], ConnectivityMap]:
    def run(subject: Subject) -> ConnectivityMap:
        window_s = subject.glm_window_s
        config = ManyBasisGLMConfig(
            penalty=penalty, window_s=window_s, history_window_s=subject.glm_history_window_s
        )
        return _glm_map(subject, fit_many_basis_glm(subject.recording, config=config), f"{penalty}_glm")

    return run


def _from_counts(method: Callable[..., ConnectivityMap]) -> Callable[[Subject], ConnectivityMap]:
    def run(subject: Subject) -> ConnectivityMap:
        return method(
            subject.counts, n_lags=subject.lags, rng=subject.rng(), surrogates=subject.config.surrogates
        )

    return run


METHODS: Mapping[str, Callable[[Subject], ConnectivityMap]] = {
    "adjusted_coupling": lambda s: adjusted_map(s.fitted_model, s.training, name="adjusted_coupling"),
    "coupling": lambda s: coupling(s.model, s.index),
    "stimulation": lambda s: stimulation(s.model, s.data, s.recording, rng=s.rng()),
    "silencing": lambda s: silencing(s.model, s.data, s.recording),
    "self_attention": lambda s: self_attention(s.model, s.data, s.recording),
    "attention_rollout": lambda s: attention_rollout(s.model, s.data, s.recording),
    "attention_gradient": lambda s: attention_gradient(s.model, s.data, s.recording),
    "poisson_glm": lambda s: _glm_map(s, s.glm, "poisson_glm"),
    "wald_glm": lambda s: _one_step(s, s.glm, "wald_glm"),
    "adjusted_glm": lambda s: adjusted_map(fitted_glm(s.glm, s.recording), s.training, name="adjusted_glm"),
    "group_lasso_glm": _many_basis_glm("group_lasso"),
    "ridge_glm": _many_basis_glm("ridge"),
    "cross_correlation": lambda s: cross_correlation(
        s.session, bin_s=s.bin_s, n_lags=s.lags, rng=s.rng(), surrogates=s.config.surrogates
    ),
    "jittered_ccg": _from_counts(classical.jittered_cross_correlogram),
    "directed_sttc": _from_counts(classical.directed_sttc),
    "partial_correlation": _from_counts(classical.partial_correlation),
    "transfer_entropy": _from_counts(classical.delayed_transfer_entropy),
    "granger": _from_counts(classical.granger_causality),
}


def estimate_all(
    subject: Subject, names: Sequence[str]
) -> tuple[dict[str, ConnectivityMap], dict[str, float]]:
    """Run the named estimators on one session.

    Returns:
        The maps by name, and the seconds that each took.
    """
    maps, seconds = {}, {}
    for name in names:
        started = time.perf_counter()
        maps[name] = METHODS[name](subject)
        assert maps[name].name == name, f"{name}: the map calls itself {maps[name].name}"
        seconds[name] = time.perf_counter() - started
    return maps, seconds
