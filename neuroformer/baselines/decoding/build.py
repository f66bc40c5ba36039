"""Decoders by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from neuroformer.baselines.decoding.decoder import Decoder
from neuroformer.baselines.decoding.kalman import KalmanDecoder
from neuroformer.baselines.decoding.logistic import LogisticDecoder
from neuroformer.baselines.decoding.naive_bayes import NaiveBayesDecoder
from neuroformer.baselines.decoding.null import NullDecoder
from neuroformer.baselines.decoding.recurrent import GRUDecoder
from neuroformer.baselines.decoding.ridge import RidgeDecoder
from neuroformer.baselines.decoding.target import Target
from neuroformer.errors import UserError
from neuroformer.settings.decoding import DecodersConfig

_Builder = Callable[[Target, float, DecodersConfig], Decoder]


def _with_motion(target: Target, bin_s: float, config: DecodersConfig) -> Decoder:
    settings = config.naive_bayes
    if settings.motion == "none":
        settings = dataclasses.replace(settings, motion="forward")
    return NaiveBayesDecoder(target, bin_s=bin_s, config=settings)


def _naive_bayes(target: Target, bin_s: float, config: DecodersConfig) -> Decoder:
    return NaiveBayesDecoder(
        target, bin_s=bin_s, config=dataclasses.replace(config.naive_bayes, motion="none")
    )


DECODERS: dict[str, _Builder] = {
    "null": lambda target, bin_s, config: NullDecoder(target, bin_s=bin_s),
    "ridge": lambda target, bin_s, config: RidgeDecoder(target, bin_s=bin_s, config=config.ridge),
    "logistic": lambda target, bin_s, config: LogisticDecoder(target, bin_s=bin_s, config=config.logistic),
    "naive_bayes": _naive_bayes,
    "naive_bayes_motion": _with_motion,
    "kalman": lambda target, bin_s, config: KalmanDecoder(target, bin_s=bin_s, config=config.kalman),
    "gru": lambda target, bin_s, config: GRUDecoder(target, bin_s=bin_s, config=config.gru),
}
"""How each is made."""

_CONTINUOUS_ONLY = ("ridge", "kalman")
_GRID = ("logistic", "naive_bayes", "naive_bayes_motion")


def decoders_for(target: Target, *, n_dims: int = 1) -> list[str]:
    """Names of the decoders that can decode a target of so many dimensions."""
    left_out = _CONTINUOUS_ONLY if target.kind == "categorical" else _GRID if n_dims > 2 else ()
    return [name for name in DECODERS if name not in left_out]


def build_decoder(
    name: str, target: Target, *, bin_s: float, config: DecodersConfig | None = None
) -> Decoder:
    """A decoder that is not fitted yet.

    Args:
        name: one of `DECODERS`.
        target: what it is to decode.
        bin_s: width of a bin in seconds.
        config: settings of all decoders.

    Raises:
        UserError: no such decoder, or one that cannot decode such a target.
    """
    if name not in DECODERS:
        raise UserError(f"{name}: no such decoder; expected one of {', '.join(DECODERS)}")
    return DECODERS[name](target, bin_s, config or DecodersConfig())
