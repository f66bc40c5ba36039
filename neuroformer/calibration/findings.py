"""All statistics of one recording and its generated copies, from arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.calibration.activity import Activity, Blocks
from neuroformer.calibration.agreement import Agreement, agreement
from neuroformer.calibration.halves import Comparison, Splits, compare
from neuroformer.calibration.horizon import Horizon, drift
from neuroformer.calibration.pairs import pair_agreement
from neuroformer.calibration.population import Crowd, Moments
from neuroformer.calibration.psth import Response, Trials, responses
from neuroformer.calibration.rescaling import Rescaled
from neuroformer.calibration.statistics import Autocorrelogram, Fano, Intervals, Rate, Statistic, classes
from neuroformer.settings.calibrate import CalibrateConfig

LEAST_BLOCKS = 4
_MOST = 100_000  # events of the population in a window; more count as so many


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What calibration says of one recording.

    Attributes:
        session_id: whose.
        real: the recording's part.
        n_copies: C.
        copied_events: (N,) events of each unit in the mean copy.
        blocks: of the halves.
        units: comparisons of single units by name.
        population: comparisons of the population by name.
        rates: agreement of rates over units.
        pairs: agreement of pairwise correlations.
        noise: whether these are noise correlations (what trials of one stimulus share is taken away) or whole ones.
        correlations: matrices (P, P) of the recording and of all copies.
        paired: (P,) their units.
        rescaled: time rescaling under the model's own intensities.
        horizon: drift.
        responses: to each stimulus; empty without trials.
    """

    session_id: str
    real: Activity
    n_copies: int
    copied_events: np.ndarray
    blocks: Blocks
    units: dict[str, Comparison]
    population: dict[str, Comparison]
    rates: Agreement
    pairs: Agreement
    noise: bool
    correlations: tuple[np.ndarray, np.ndarray]
    paired: np.ndarray
    rescaled: Rescaled
    horizon: Horizon
    responses: list[Response]

    def table(self) -> dict[str, Any]:
        """As it is written to metrics.json."""
        copies = self.n_copies
        return {
            "seconds": self.real.seconds,
            "n_stretches": len(self.real.lengths),
            "n_blocks": len(self.blocks),
            "n_units": self.real.n_units,
            "n_events": int(self.real.events.sum()),
            "n_events_generated": float(self.copied_events.sum()),
            "copies": copies,
            "rates": self.rates.table(),
            "pairs": {
                "kind": "noise" if self.noise else "total",
                "units": len(self.paired),
                **self.pairs.table(),
            },
            "units": {
                name: {
                    "share_within": found.share,
                    "share_within_exact": found.exact_share,
                    "share_alike": found.alike_share,
                    "share_alike_expected": copies / (copies + 1),
                    "tested": int(found.tested.sum()),
                    "median_distance_over_floor": _median(found.distance, found.floor, found.tested),
                }
                for name, found in self.units.items()
            },
            "population": {
                name: {
                    "distance": found.distance[0],
                    "floor": found.floor[0],
                    "bound": found.bound[0],
                    "within": bool(found.within[0]),
                    "within_exact": found.exact_share,
                    "stands_out": bool(found.stands_out[0]),
                    **(
                        {"real": found.real[0, 0], "generated": found.generated[0, 0]}
                        if isinstance(found.statistic, Moments)
                        else {}
                    ),
                }
                for name, found in self.population.items()
            },
            "time_rescaling": {
                "share_passed": self.rescaled.share,
                "expected_range": self.rescaled.expected,
                "tested": int(self.rescaled.tested.sum()),
                "events_over_expected": float(self.real.events.sum() / self.rescaled.expected_events.sum()),
                "repeats": int(self.rescaled.repeats.sum()),
                "repeats_expected": float(self.rescaled.expected_repeats.sum()),
                "dispersion": self.rescaled.dispersion,
            },
            "horizon": self.horizon.table(),
            "responses": [
                {
                    "stimulus": each.label,
                    "trials": each.n_trials,
                    "r_half": _mean(each.generated),
                    "ceiling": _mean(each.ceiling),
                    "ratio": _mean(each.generated) / _mean(each.ceiling)
                    if _mean(each.ceiling) > 0
                    else np.nan,
                }
                for each in self.responses
            ],
        }


def find(
    real: Activity,
    copies: Sequence[Activity],
    rescaled: Rescaled,
    *,
    session_id: str,
    trials: Trials | None,
    config: CalibrateConfig,
) -> Findings:
    """Compute everything.

    Args:
        real: the recording's part, at least `LEAST_BLOCKS` blocks long.
        copies: generated activity in the same stretches.
        rescaled: of the recording under the model.
        session_id: its name.
        trials: whole trials of the part; None without stimulus.
        config: settings.
    """
    rng = np.random.default_rng([config.seed, 1])
    bin_s = real.bin_s
    blocks = Blocks.cut(real.lengths, bins=block_bins(config, bin_s))
    assert len(blocks) >= LEAST_BLOCKS
    splits = Splits.draw(len(blocks), config.splits, rng)
    window = pair_bins(config, bin_s)
    units, population = (
        {
            each.name: compare(
                each, real, copies, blocks, splits, min_events=config.min_events, n_exact=config.exact
            )
            for each in statistics
        }
        for statistics in _statistics(real, config, window)
    )
    rate = Rate(bin_s=bin_s)
    halves = [
        tuple(rate.value(half)[..., 0] for half in splits.of(rate.sums(each, blocks)))
        for each in (real, *copies)
    ]
    rates = agreement(
        real=(halves[0][0], halves[0][1]),
        copies=[(half[0], half[1]) for half in halves[1:]],
        whole=(units["rate"].real[:, 0], units["rate"].generated[:, 0]),
    )
    windows = blocks.windows(window) if trials is None else trials.windows(window, blocks)
    order = np.argsort(-real.events, kind="stable")[: config.paired_units]
    paired = np.sort(order[real.events[order] > 1])  # how much so few events say, the ceiling tells
    pairs, *correlations = pair_agreement(real, copies, windows, splits, paired)
    return Findings(
        session_id=session_id,
        real=real,
        n_copies=len(copies),
        copied_events=np.mean([copy.events for copy in copies], 0),
        blocks=blocks,
        units=units,
        population=population,
        rates=rates,
        pairs=pairs,
        noise=trials is not None,
        correlations=(correlations[0], correlations[1]),
        paired=paired,
        rescaled=rescaled,
        horizon=drift(
            real, copies, width=window, block=block_bins(config, bin_s), n_classes=config.horizons, rng=rng
        ),
        responses=[]
        if trials is None
        else responses(
            real,
            copies,
            trials,
            width=window if config.psth_s is None else max(1, round(config.psth_s / bin_s)),
            n_splits=config.splits,
            rng=rng,
        ),
    )


def block_bins(config: CalibrateConfig, bin_s: float) -> int:
    """Least bins of a block: whole windows of the Fano factor and of correlations, a few of each."""
    return max(1, round(config.block_s / bin_s))


def pair_bins(config: CalibrateConfig, bin_s: float) -> int:
    """Bins of the windows of correlations."""
    return max(5, round(0.1 / bin_s)) if config.pair_s is None else max(1, round(config.pair_s / bin_s))


def _statistics(
    real: Activity, config: CalibrateConfig, window: int
) -> tuple[list[Statistic], list[Statistic]]:
    """Of single units, and of the population."""
    bin_s = real.bin_s
    longest = max(25, round(0.5 / bin_s)) if config.acg_s is None else max(1, round(config.acg_s / bin_s))
    own: list[Statistic] = [
        Rate(bin_s=bin_s),
        Intervals(edges=classes(max(real.lengths))),
        Fano(width=max(5, round(config.fano_s / bin_s))),
        Autocorrelogram(edges=classes(longest, first=1, singly=8)),
    ]
    seconds = window * bin_s
    events, active = classes(_MOST), classes(max(real.n_units, 1), singly=200)
    common: list[Statistic] = [
        Crowd(width=1, edges=events, of="events", name="events_per_bin", title="events per bin"),
        Crowd(
            width=window,
            edges=active,
            of="active",
            name="active_units",
            title=f"active units in {seconds:g} s",
        ),
        Moments(width=window, of="variation", name="variation", title="coefficient of variation"),
        Moments(width=window, of="synchrony", name="synchrony", title="synchrony"),
    ]
    return own, common


def _median(distance: np.ndarray, floor: np.ndarray, where: np.ndarray) -> float:
    """Of the ratios."""
    where = where & (floor > 0)
    return float(np.median(distance[where] / floor[where])) if where.any() else float("nan")


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
