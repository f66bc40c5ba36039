"""Directed spike time tiling coefficient: how much more often events meet in a window after them than by their rates.

The spike time tiling coefficient, STTC (Cutts & Eglen 2014, J. Neurosci. 34:14288), with tiles that reach forward from
the source and backward from the target, the directed form dSTTC as compared with other methods by Donner et al. 2024
(PLoS Comput. Biol. 20:e1011964), moved over delays:

    D[i, j](l) = ½ (P_i − T_j) / (1 − P_i T_j) + ½ (P_j − T_i) / (1 − P_j T_i)
    estimate[i, j] = D(l*),        l* = argmax over delays l of |D[i, j](l)|

    T_i  share of all bins that lie l … l + w − 1 bins after an event of the source i,
    T_j  share of all bins that lie l … l + w − 1 bins before an event of the target j,
    P_i  share of the source's events that lie in the target's tiles, P_j of the target's events in the source's.

D is 0 for independent trains whatever their rates, between −1 and 1; several events of a bin count as one. A tile as
long as the longest delay instead of a moving one would dilute what a synapse does within it.
"""

from __future__ import annotations

import numpy as np

from neuroformer.connectivity.classical.lagged import (
    JoinedTrains,
    check_lags,
    join,
    lagged_products,
    take_peak,
)
from neuroformer.connectivity.counts import BinnedCounts
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import count_p_values, peak_p_values, pooled_variance


def directed_sttc(
    counts: BinnedCounts,
    *,
    n_lags: int,
    rng: np.random.Generator,
    surrogates: int = 20,
    tile_s: float = 0.01,
) -> ConnectivityMap:
    """Estimate who drives whom by the directed spike time tiling coefficient at its best delay.

    p-values: D times the harmonic mean of both units' events is about the number of coincidences above what rates
    foretell. It is compared with a Poisson count scaled to its variance over surrogates whose trains are shifted
    in time, all delays together; the surrogates' own peaks tell how much was gained by choosing the delay.

    Args:
        counts: The recording.
        n_lags: Largest lag L in bins that a tile reaches; delays are 1 … L − w + 1, each
            given in the map by the middle of its tile.
        rng: Source of the shifts.
        surrogates: Number of shifted recordings.
        tile_s: Width of a tile in seconds, of which whole bins w are taken, from 1 to `n_lags`.

    Raises:
        UsageError: `surrogates` is below 2.
        UserError: No valid interval is longer than `n_lags` bins.
    """
    check_lags(counts, n_lags)
    width = int(np.clip(round(tile_s / counts.bin_s), 1, n_lags))
    n_delays = n_lags - width + 1
    profile = tiling_by_delay(join(counts, gap=n_lags), width=width, n_delays=n_delays)
    squares, peaks = [], []
    for _ in range(surrogates):
        shifted = counts.shifted(rng, least_bins=2 * n_lags + 1)
        null = tiling_by_delay(join(shifted, gap=n_lags), width=width, n_delays=n_delays)
        squares.append((null**2).mean(axis=0))
        peaks.append(take_peak(null)[0])
    n_events = np.maximum(counts.totals, 1)
    coincidences = 2 / (1 / n_events[:, None] + 1 / n_events)  # (S, T)
    expected = counts.totals[:, None] * counts.totals * width / counts.n_bins
    variance = pooled_variance(np.array(squares) * coincidences**2, expected)
    (matrix,) = take_peak(profile)
    return ConnectivityMap(
        name="directed_sttc",
        matrix=matrix,
        lag_profile=np.moveaxis(profile, 0, -1).astype(np.float32),
        lags_s=(np.arange(1, n_delays + 1) + (width - 1) / 2) * counts.bin_s,  # the middle of the tile
        p_values=peak_p_values(
            count_p_values(matrix * coincidences, expected, variance),
            np.stack([count_p_values(peak * coincidences, expected, variance) for peak in peaks]),
            n_lags=n_delays,
        ),
        description=f"directed spike time tiling coefficient at its best delay, tiles of {width * counts.bin_s:g} s",
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


def tiling_by_delay(trains: JoinedTrains, *, width: int, n_delays: int) -> np.ndarray:
    """(delays, S, T) directed coefficient with tiles of `width` bins, delays 1 … `n_delays`.

    A delay moves the tiles and leaves them as they are, but for what is cut off at the end of an interval, which
    the shares T do not see. A bin of a tile is counted once, for the nearest event: so the events that meet a
    tile are the pairs at each of its lags, less those that an event in between has met already, which are few.
    """
    events, n_bins = trains.binary(), np.count_nonzero(trains.valid)
    n_lags = n_delays + width - 1
    pairs = lagged_products(events, events, n_lags=n_lags)
    source_met, target_met = np.zeros((2, n_delays, *pairs.shape[1:]))
    for step in range(width):
        delayed = slice(step, step + n_delays)
        source_met += pairs[delayed]
        target_met += pairs[delayed]
        if step:
            preceded = events.multiply(trains.dilated(range(1, step + 1))).tocsr()
            followed = events.multiply(trains.dilated(range(-step, 0))).tocsr()
            source_met -= lagged_products(events, preceded, n_lags=n_lags)[delayed]
            target_met -= lagged_products(followed, events, n_lags=n_lags)[delayed]
    return _coefficient(
        source_met=source_met,
        target_met=target_met,
        n_events=events.sum(axis=0),
        source_tiled=trains.dilated(range(width)).sum(axis=0) / n_bins,
        target_tiled=trains.dilated(range(1 - width, 1)).sum(axis=0) / n_bins,
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
