"""A circuit of integrate-and-fire neurons here and in Brian2: the same rates and correlations.

Wiring, weights, delays, constant inputs and escape noise are the same; the random numbers are not. Many copies of
the circuit run side by side, and give both means and their errors. Brian2 integrates the decaying current exactly,
where it is constant within a step here: its weights are divided by the mean of the decay over a step, so that an
event brings the same charge. Its synapses act after the neurons in a step, hence a delay shorter by one step.
"""

import importlib.machinery
import sys
import warnings

import numpy as np
import pytest

from simulate.config import LifConfig, SynapseConfig, WiringConfig
from simulate.lif import LifNeurons
from simulate.network import Network, run
from simulate.synapses import Synapses
from simulate.wiring import Wiring, cell_types, draw_wiring

N, COPIES, DT, SECONDS = 25, 24, 0.001, 8.0
LIF = LifConfig(input_mv=10.0, input_sigma_mv=0.0)
TIME = SynapseConfig(excitatory_s=0.005, inhibitory_s=0.01)
BIN_STEPS = 20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wiring():
    """The edges of all copies."""
    one = draw_wiring(
        WiringConfig(density=0.2, weight=15.0, weight_sigma=0.4, inhibition=2.0),
        inhibitory=cell_types(N, excitatory=0.8),
        delays=(2, 8),
        rng=np.random.default_rng(3),
    )
    shift = N * np.repeat(np.arange(COPIES), len(one.source))
    return Wiring(
        inhibitory=np.tile(one.inhibitory, COPIES),
        source=np.tile(one.source, COPIES) + shift,
        target=np.tile(one.target, COPIES) + shift,
        weight=np.tile(one.weight, COPIES),
        delay=np.tile(one.delay, COPIES),
        median=np.tile(one.median, COPIES),
    )


def counts_here(wiring):
    n, n_steps = wiring.n, round(SECONDS / DT)
    decays = np.exp(-DT / TIME.excitatory_s), np.exp(-DT / TIME.inhibitory_s)
    network = Network(
        neurons=LifNeurons(LIF, n=n, dt=DT, rng=np.random.default_rng(0)),
        synapses=Synapses(wiring, decays=decays),
        emission="bernoulli",
        refractory=round(LIF.refractory_s / DT),
        n=n,
    )
    activity = run(
        network,
        n=n,
        n_steps=n_steps,
        block=1000,
        dt=DT,
        drive=None,
        check=lambda *_: None,
        rng=np.random.default_rng(1),
    )
    return binned(activity.steps, activity.neurons)


class WithoutPtp(importlib.machinery.SourceFileLoader):
    """Loads a module that names `np.ndarray.ptp`, which numpy 2.4 no longer has."""

    def get_data(self, path):
        if not path.endswith(".py"):
            raise OSError("no byte code: it would be that of the module as it is")
        return super().get_data(path).replace(b"np.ndarray.ptp", b"np.ptp")

    def set_data(self, path, data, **options):
        """Leave no byte code behind either."""


class BrianFinder(importlib.machinery.PathFinder):
    """Finds the one module of Brian2 2.9 that needs it; a release for numpy 2.4 will not."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "brian2.units.fundamentalunits":
            return None
        spec = super().find_spec(name, path, target)
        spec.loader = WithoutPtp(spec.loader.name, spec.loader.path)
        return spec


def import_brian2():
    sys.meta_path.insert(0, BrianFinder)
    try:
        return importlib.import_module("brian2")
    finally:
        sys.meta_path.remove(BrianFinder)


def counts_in_brian2(wiring):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Brian2's own, which are not ours to mend
        b2 = import_brian2()
        b2.prefs.codegen.target = "numpy"
        b2.seed(2)
        b2.defaultclock.dt = DT * b2.second
        names = {
            "tau": LIF.membrane_s * b2.second,
            "rest": LIF.rest_mv,
            "reset": LIF.reset_mv,
            "threshold": LIF.threshold_mv,
            "width": LIF.escape_mv,
            "constant": LIF.input_mv,
            "tau_e": TIME.excitatory_s * b2.second,
            "tau_i": TIME.inhibitory_s * b2.second,
            "expected": LIF.escape_hz * DT,
        }
        cells = b2.NeuronGroup(
            wiring.n,
            """dv/dt = (rest + constant + excitation + inhibition - v) / tau : 1 (unless refractory)
               dexcitation/dt = -excitation / tau_e : 1
               dinhibition/dt = -inhibition / tau_i : 1""",
            threshold="rand() < 1 - exp(-expected * exp((v - threshold) / width))",
            reset="v = reset",
            refractory=(LIF.refractory_s + DT) * b2.second,  # it counts the step of the event
            method="exact",
            namespace=names,
        )
        cells.v = LIF.rest_mv
        network = b2.Network(cells, monitor := b2.SpikeMonitor(cells))
        for inhibitory, name, decay_s in (
            (False, "excitation", TIME.excitatory_s),
            (True, "inhibition", TIME.inhibitory_s),
        ):
            edges = wiring.inhibitory[wiring.source] == inhibitory
            synapses = b2.Synapses(cells, cells, "w : 1", on_pre=f"{name}_post += w")
            synapses.connect(i=wiring.source[edges], j=wiring.target[edges])
            synapses.w = wiring.weight[edges] * (DT / decay_s) / -np.expm1(-DT / decay_s)
            synapses.delay = (wiring.delay[edges] - 1) * DT * b2.second
            network.add(synapses)
        network.run(SECONDS * b2.second)
        return binned(np.rint(np.asarray(monitor.t) / DT).astype(int), np.asarray(monitor.i))


def binned(steps, neurons):
    """(copies, bins, N) counts in bins of 20 ms, without the first second."""
    counts = np.zeros((COPIES, round(SECONDS / DT) // BIN_STEPS, N))
    np.add.at(counts, (neurons // N, steps // BIN_STEPS, neurons % N), 1)
    return counts[:, round(1 / DT) // BIN_STEPS :]


def correlations(counts):
    """(copies, pairs), with each neuron's variance over all copies: some are silent in one of them."""
    centred = counts - counts.mean(axis=1, keepdims=True)
    centred /= np.sqrt(np.mean(centred**2, axis=(0, 1)))
    first, second = np.triu_indices(N, 1)
    return np.mean(centred[..., first] * centred[..., second], axis=1)


def deviations(first, second):
    """(K,) differences of the means over copies, in their standard errors, of (copies, K) values."""
    error = np.sqrt((first.var(axis=0, ddof=1) + second.var(axis=0, ddof=1)) / COPIES)
    return (first.mean(axis=0) - second.mean(axis=0)) / error


def test_rates_and_pairwise_correlations_are_those_of_brian2(wiring):
    here, there = counts_here(wiring), counts_in_brian2(wiring)
    rates = [counts.mean(axis=1) / (BIN_STEPS * DT) for counts in (here, there)]
    assert 3 < rates[0].mean() < 30
    pairs = [correlations(counts) for counts in (here, there)]
    assert np.ptp(pairs[0].mean(axis=0)) > 0.2  # there are correlations to agree on
    for first, second in (rates, pairs):
        z = deviations(first, second)
        assert np.sqrt(np.mean(z**2)) < 1.25  # 1 if errors are all there is
        assert np.abs(z).max() < 5
    overall = deviations(*(value.mean(axis=1, keepdims=True) for value in rates))
    assert abs(overall[0]) < 4
    assert np.corrcoef(*(value.mean(axis=0) for value in rates))[0, 1] > 0.97
    assert np.corrcoef(*(value.mean(axis=0) for value in pairs))[0, 1] > 0.9


def test_half_the_weights_would_not_agree(wiring):
    """The comparison can tell circuits apart."""
    here = counts_here(wiring)
    other = counts_here(Wiring(**{**vars(wiring), "weight": wiring.weight / 2, "median": wiring.median / 2}))
    assert np.sqrt(np.mean(deviations(correlations(here), correlations(other)) ** 2)) > 2
