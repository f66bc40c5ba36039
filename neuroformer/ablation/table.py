"""From scores per bin to the table: what each variant reaches, and how far it is from the full model.

Intervals are 95 % bootstraps over blocks of held-out time; differences are paired, block by block. They say how sure
the difference of these trained models is; how much training itself varies is the spread over seeds.

Legend: M blocks, T bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroformer.ablation.scoring import BinScores
from neuroformer.ablation.variants import FULL
from neuroformer.metrics import bootstrap_ratio

Scores = Mapping[str, BinScores]
"""By session."""


def summarize(
    scores: Mapping[str, Sequence[Scores]],
    known: Mapping[str, np.ndarray],
    *,
    block_s: float,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The numbers of every variant.

    Args:
        scores: by variant, one entry per training seed; the full model among them.
        known: by session, (T,) bins in which behaviour is known (and the condition holds); decoding is scored there.
        block_s: seconds drawn together.
        seed: of the bootstrap; every measure draws the same blocks for every variant.

    Returns:
        By variant: `bits_per_spike` (given what the variant may know), `bits_per_spike_known` (the same in bins where
        behaviour is known), `bits_per_spike_alone` (from events alone), `bits_per_spike_gain` (what knowing
        the variables adds to the same model where behaviour is known), `error NAME` and `nll NAME` of every decoded
        variable, each with `value`, `interval`, `seed_sd` and, but for the full model, `minus_full` and
        `minus_full_interval`. A measure that a variant does not have is left out.
    """
    full = [_measures(one, known, block_s) for one in scores[FULL]]
    found: dict[str, dict[str, Any]] = {}
    for variant, runs in scores.items():
        own = full if variant == FULL else [_measures(one, known, block_s) for one in runs]
        found[variant] = {}
        for name in own[0]:
            numerator = np.mean([m[name][0] for m in own], axis=0)
            denominator = own[0][name][1]
            if not denominator.sum():
                continue
            rng = np.random.default_rng(seed)
            ratios = [float(m[name][0].sum() / denominator.sum()) for m in own]
            about: dict[str, Any] = {
                "value": float(numerator.sum() / denominator.sum()),
                "interval": list(bootstrap_ratio(numerator, denominator, rng)),
                "seed_sd": float(np.std(ratios, ddof=1)) if len(ratios) > 1 else math.nan,
            }
            if variant != FULL and name in full[0]:
                base = np.mean([m[name][0] for m in full], axis=0)
                assert np.array_equal(denominator, full[0][name][1]), f"{variant}: {name} of other bins"
                above = numerator - base
                about["minus_full"] = float(above.sum() / denominator.sum())
                about["minus_full_interval"] = list(
                    bootstrap_ratio(above, denominator, np.random.default_rng(seed))
                )
            found[variant][name] = about
    return found


def _measures(
    scores: Scores, known: Mapping[str, np.ndarray], block_s: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of every measure the sums over each block (M,), numerator and denominator; blocks of all sessions joined."""
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    names = {name for score in scores.values() for name in score.error}
    for session, score in scores.items():
        _, block = np.unique(np.floor((score.time - score.time[0]) / block_s), return_inverse=True)
        there = known[session]

        def sums(values: np.ndarray, mask: np.ndarray, block: np.ndarray = block) -> np.ndarray:
            return np.bincount(block, weights=np.where(mask, values, 0.0), minlength=block.max() + 1)

        every = np.ones(len(there), bool)
        given, alone = ((x - score.null) / math.log(2) for x in (score.given, score.alone))
        pieces = {
            "bits_per_spike": (sums(given, every), sums(score.events, every)),
            "bits_per_spike_known": (sums(given, there), sums(score.events, there)),
        }
        if np.isfinite(alone).all():
            pieces["bits_per_spike_alone"] = (sums(alone, every), sums(score.events, every))
            if not np.array_equal(alone, given):
                pieces["bits_per_spike_gain"] = (sums(given - alone, there), sums(score.events, there))
        for name in names:
            nothing = np.full(len(every), np.nan)
            error, density = score.error.get(name, nothing), score.density.get(name, nothing)
            labelled = np.isfinite(error) & there
            count = sums(np.ones(len(every)), labelled)
            pieces[f"error {name}"] = (sums(error, labelled), count)
            pieces[f"nll {name}"] = (sums(-density, labelled), count)
        for name, piece in pieces.items():
            parts.setdefault(name, []).append(piece)
    return {
        name: (np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces]))
        for name, pieces in parts.items()
    }


def rows(labels: Mapping[str, str], summary: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    """The table with its head, a row per variant; a cell is empty where a variant has no such number.

    Of every measure there are value, ends of the interval and spread over seeds, then its difference from the full
    model with the ends of that.
    """
    measures = list(dict.fromkeys(name for about in summary.values() for name in about))
    head = ["variant", "label"]
    for name in measures:
        key = name.replace(" ", "_")
        head += [key, f"{key}_low", f"{key}_high", f"{key}_seed_sd"]
        head += [f"{key}_minus_full", f"{key}_minus_full_low", f"{key}_minus_full_high"]
    table: list[list[Any]] = [head]
    for variant, about in summary.items():
        row: list[Any] = [variant, labels[variant]]
        for name in measures:
            one = about.get(name, {})
            row += [one.get("value"), *one.get("interval", [None, None]), one.get("seed_sd")]
            row += [one.get("minus_full"), *one.get("minus_full_interval", [None, None])]
        table.append([_cell(value) for value in row])
    return table


def sentences(
    labels: Mapping[str, str], summary: Mapping[str, Mapping[str, Any]], units: Mapping[str, str]
) -> list[str]:
    """What the differences say, one sentence a variant; a difference counts if its interval leaves out 0.

    Args:
        labels: of the variants.
        summary: of `summarize`.
        units: of the decoded variables.
    """
    found = []
    for variant, about in summary.items():
        if variant == FULL:
            continue
        sure: list[str] = []
        unsure: list[str] = []
        for name, one in about.items():
            if name.startswith("nll") or "minus_full" not in one:
                continue
            low, high = one["minus_full_interval"]
            words = f"{one['minus_full']:+.3g} {_measure_words(name, units)}"
            (sure if low > 0 or high < 0 else unsure).append(words)
        text = "; ".join(sure) if sure else "no difference from the full model that is sure"
        found.append(f"{labels[variant]}: {text}" + (f" (unsure: {'; '.join(unsure)})" if unsure else ""))
    return found


def _measure_words(name: str, units: Mapping[str, str]) -> str:
    words = {
        "bits_per_spike": "bits/spike",
        "bits_per_spike_known": "bits/spike where behaviour is known",
        "bits_per_spike_alone": "bits/spike from events alone",
        "bits_per_spike_gain": "bits/spike by knowing the variables",
    }
    if name in words:
        return words[name]
    variable = name.partition(" ")[2]
    unit = units.get(variable, "")
    return f"{unit} error of {variable}".strip()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
