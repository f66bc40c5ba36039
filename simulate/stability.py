"""Whether a circuit is alive and well: neither silent nor epileptic."""

import numpy as np

from neuroformer.errors import UserError
from simulate.activity import Activity
from simulate.advice import Advice

LOWEST_RATE_HZ = 0.05
HIGHEST_RATE_HZ = 100.0
HIGHEST_SYNCHRONY = 0.7
SYNCHRONY_BIN_S = 0.01

ANY = Advice(
    wake="raise what makes neurons fire without others (glm.rate_hz, lif.input_mv, ...), or lower wiring.inhibition",
    calm="lower wiring.weight, wiring.density or drive.strength, or raise wiring.inhibition",
)


def synchrony(activity: Activity) -> float:
    """Golomb and Hansel's χ: 1 if all neurons do the same, about 1 / sqrt(n) if they are independent.

    χ² = Var_t(mean of s_j over j) / mean of Var_t(s_j) over j, with s_j(t) the counts of neuron j in bins of
    10 ms (Golomb & Hansel 2000, Neural Comput. 12:1095). 0 for a silent population.
    """
    n = activity.log_likelihood.shape[1]
    width = max(1, round(SYNCHRONY_BIN_S / activity.dt))
    n_bins = -(-activity.n_steps // width)
    cells, where = np.unique(activity.steps // width * n + activity.neurons, return_inverse=True)
    counts = np.bincount(where, weights=activity.counts)
    means = np.bincount(cells % n, weights=counts, minlength=n) / n_bins
    squares = np.bincount(cells % n, weights=counts**2, minlength=n) / n_bins
    population = np.bincount(cells // n, weights=counts, minlength=n_bins) / n
    single = float(np.mean(squares - means**2))
    return float(np.sqrt(population.var() / single)) if single > 0 else 0.0


def refuse_seizure(n_events: int, *, n: int, seconds: float, advice: Advice = ANY) -> None:
    """Give up when n neurons have had too many events in some seconds.

    Raises:
        UserError: They fire at more than 100 Hz; with advice.
    """
    rate = n_events / (n * seconds)
    if rate > HIGHEST_RATE_HZ:
        raise UserError(
            f"the circuit is epileptic: mean rate {rate:.0f} Hz within {seconds:g} s, "
            f"expected at most {HIGHEST_RATE_HZ:g} Hz; {advice.calm}"
        )


def refuse_unhealthy(activity: Activity, *, advice: Advice = ANY) -> None:
    """Refuse a silent or an epileptic circuit.

    Raises:
        UserError: Mean rate or synchrony are out of bounds; with both, and advice.
    """
    rates, chi = activity.rates_hz, synchrony(activity)
    found = f"mean rate {rates.mean():.3g} Hz (highest {rates.max():.3g} Hz), synchrony {chi:.2f}"
    if rates.mean() < LOWEST_RATE_HZ:
        raise UserError(
            f"the circuit is silent: {found}, expected at least {LOWEST_RATE_HZ:g} Hz; {advice.wake}"
        )
    if rates.mean() > HIGHEST_RATE_HZ:
        raise UserError(
            f"the circuit is epileptic: {found}, expected at most {HIGHEST_RATE_HZ:g} Hz; {advice.calm}"
        )
    if chi > HIGHEST_SYNCHRONY:
        expected = f"expected a synchrony of at most {HIGHEST_SYNCHRONY:g}"
        raise UserError(f"the circuit is epileptic: {found}, {expected}; {advice.calm}")
