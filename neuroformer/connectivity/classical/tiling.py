"""Directed spike time tiling coefficient: how much more often events meet in a window after them than by their rates.

The spike time tiling coefficient, STTC (Cutts & Eglen 2014, J. Neurosci. 34:14288), with tiles that reach forward from
the source and backward from the target, the directed form dSTTC as compared with other methods by Donner et al. 2024
(PLoS Comput. Biol. 20:e1011964):

    dSTTC[i, j] = ½ (P_i − T_j) / (1 − P_i T_j) + ½ (P_j − T_i) / (1 − P_j T_i)

    T_i  share of all bins that lie 1 … w bins after an event of the source i,
    T_j  share of all bins that lie 1 … w bins before an event of the target j,
    P_i  share of the source's events that lie in the target's tiles, P_j of the target's events in the source's.

It is 0 for independent trains whatever their rates, between −1 and 1; several events of a bin count as one.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from neuroformer.connectivity.classical.lagged import JoinedTrains, check_lags, join, lagged_products
from neuroformer.connectivity.counts import BinnedCounts
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import surrogate_p_values


def directed_sttc(
    counts: BinnedCounts,
    *,
    n_lags: int,
    rng: np.random.Generator,
    surrogates: int = 20,
    tile_s: float = 0.02,
) -> ConnectivityMap:
    """Estimate who drives whom by the directed spike time tiling coefficient.

    The profile holds the coefficient with the one bin at each lag as the tile. p-values are two-sided against
    surrogates in which every train is shifted in time around its interval.

    Args:
        counts: The recording.
        n_lags: Largest lag L in bins: of the profile, and of a tile.
        rng: Source of the shifts.
        surrogates: Number of shifted recordings.
        tile_s: Reach of a tile in seconds, of which whole bins are taken, from 1 to `n_lags`. A tile much longer
            than a synapse's effect dilutes it.

    Raises:
        UserError: No valid interval is longer than `n_lags` bins.
    """
    check_lags(counts, n_lags)
    reach = int(np.clip(round(tile_s / counts.bin_s), 1, n_lags))
    after, before = range(1, reach + 1), range(-reach, 0)
    trains = join(counts, gap=n_lags)
    null = np.stack(
        [
            tiling_coefficient(
                join(counts.shifted(rng, least_bins=2 * n_lags + 1), gap=n_lags), source=after, target=before
            )
            for _ in range(surrogates)
        ]
    )
    matrix = tiling_coefficient(trains, source=after, target=before)
    return ConnectivityMap(
        name="directed_sttc",
        matrix=matrix,
        lag_profile=np.moveaxis(_by_lag(trains, n_lags=n_lags), 0, -1).astype(np.float32),
        lags_s=np.arange(1, n_lags + 1) * counts.bin_s,
        p_values=surrogate_p_values(matrix, null),
        description=f"spike time tiling coefficient, tiles of {reach * counts.bin_s:g} s forward in time",
    )


def tiling_coefficient(trains: JoinedTrains, *, source: range, target: range) -> np.ndarray:
    """(S, T) coefficient with tiles at the lags `source` around a source's events and `target` around a target's.

    With both ``range(-w, w + 1)`` it is the undirected coefficient of Cutts & Eglen.
    """
    events, n_bins = trains.binary(), np.count_nonzero(trains.valid)
    source_tiles, target_tiles = trains.dilated(source), trains.dilated(target)
    return _coefficient(
        source_met=(events.T @ target_tiles).toarray(),
        target_met=(source_tiles.T @ events).toarray(),
        n_events=events.sum(axis=0),
        source_tiled=source_tiles.sum(axis=0) / n_bins,
        target_tiled=target_tiles.sum(axis=0) / n_bins,
    )


def _by_lag(trains: JoinedTrains, *, n_lags: int) -> np.ndarray:
    """(L, S, T) coefficient with tiles of one bin, which is met by as many sources as targets."""
    events: sparse.csr_array = trains.binary()
    n_events = events.sum(axis=0)
    tiled = n_events / np.count_nonzero(trains.valid)
    met = lagged_products(events, events, n_lags=n_lags)
    return _coefficient(
        source_met=met, target_met=met, n_events=n_events, source_tiled=tiled, target_tiled=tiled
    )


def _coefficient(
    *,
    source_met: np.ndarray,
    target_met: np.ndarray,
    n_events: np.ndarray,
    source_tiled: np.ndarray,
    target_tiled: np.ndarray,
) -> np.ndarray:
    """The formula, from events that met (…, S, T), events of each unit (N,) and tiled shares (N,); 0 if silent."""
    least_one = np.maximum(n_events, 1)
    half = [
        _excess(source_met / least_one[:, None], target_tiled),
        _excess(target_met / least_one, source_tiled[:, None]),
    ]
    fires = n_events > 0
    return np.where(fires[:, None] & fires, (half[0] + half[1]) / 2, 0.0)


def _excess(met: np.ndarray, tiled: np.ndarray) -> np.ndarray:
    """(P − T) / (1 − P T), which is 1 where both are 1."""
    room = 1 - met * tiled
    return np.divide(met - tiled, room, out=np.ones_like(met), where=room > 0)
