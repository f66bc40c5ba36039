"""Settings of a simulated circuit: what a YAML file or `key=value` may say, and which values make sense."""

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from omegaconf import MISSING

from neuroformer.errors import UserError
from simulate.calcium_config import CalciumConfig
from simulate.checks import above_zero as _above_zero
from simulate.checks import not_negative as _not_negative
from simulate.checks import require as _require
from simulate.conductance import ConductanceConfig
from simulate.emission import HIGHEST_INTENSITY, Emission
from simulate.input_config import BehaviorConfig, StatesConfig, StimulusConfig
from simulate.izhikevich import IzhikevichConfig
from simulate.plasticity import PlasticityConfig
from simulate.whole_brain_config import WholeBrainConfig
from simulate.wirings.clustered import ClusteredConfig
from simulate.wirings.distance import DistanceConfig
from simulate.wirings.feed_forward import FeedForwardConfig
from simulate.wirings.motifs import MotifsConfig
from simulate.wirings.ring import RingConfig
from simulate.wirings.small_world import SmallWorldConfig

WiringKind = Literal["random", "feed_forward", "ring", "clustered", "small_world", "distance", "motifs"]


@dataclass(kw_only=True)
class WiringConfig:
    """Who is connected to whom, how strongly and how late."""

    density: float = 0.1
    """Expected fraction of the possible directed pairs that are connected."""
    excitatory: float = 0.8
    """Fraction of the neurons that excite; the others inhibit (Dale's law)."""
    hub_exponent: float | None = 3.0
    """Tail exponent, above 1, of the Pareto law of out-degrees; smaller: stronger hubs; null: no hubs. Of
    `kind=random`."""
    weight: float = 0.9
    """Median excitatory weight: log-intensity (glm), mV of synaptic current times resistance (lif), leak
    conductances (conductance), or mV per ms of input (izhikevich)."""
    weight_sigma: float = 0.3
    """Standard deviation of the logarithm of the weights."""
    inhibition: float = 2.0
    """Median inhibitory weight as a multiple of `weight`."""
    delay_min_s: float = 0.005
    """Shortest delay from an event to its first effect (seconds); at least one step."""
    delay_max_s: float = 0.01
    """Longest delay (seconds); delays are drawn uniformly, in whole steps."""
    kind: WiringKind = "random"
    """Who may be connected to whom."""
    feed_forward: FeedForwardConfig = field(default_factory=FeedForwardConfig)
    """Layers of `kind=feed_forward`."""
    ring: RingConfig = field(default_factory=RingConfig)
    """Profile of `kind=ring`."""
    clustered: ClusteredConfig = field(default_factory=ClusteredConfig)
    """Clusters of `kind=clustered`."""
    small_world: SmallWorldConfig = field(default_factory=SmallWorldConfig)
    """Rewiring of `kind=small_world`."""
    distance: DistanceConfig = field(default_factory=DistanceConfig)
    """Sheet of `kind=distance`."""
    motifs: MotifsConfig = field(default_factory=MotifsConfig)
    """Pairs of edges of `kind=motifs`."""

    def __post_init__(self) -> None:
        _require(
            self, "density excitatory", lambda v: 0 <= v <= 1, "a fraction from 0 to 1", section="wiring."
        )
        if self.hub_exponent is not None:
            _require(self, "hub_exponent", lambda v: v > 1, "a number above 1, or null", section="wiring.")
        _not_negative(self, "weight weight_sigma inhibition", section="wiring.")
        _above_zero(self, "delay_min_s delay_max_s", section="wiring.")
        at_least = f"at least wiring.delay_min_s ({self.delay_min_s})"
        _require(self, "delay_max_s", lambda v: v >= self.delay_min_s, at_least, section="wiring.")


@dataclass(kw_only=True)
class SynapseConfig:
    """How long an event acts on its targets."""

    excitatory_s: float = 0.01
    """Time constant with which the effect of an excitatory event decays (seconds)."""
    inhibitory_s: float = 0.02
    """Time constant with which the effect of an inhibitory event decays (seconds)."""

    def __post_init__(self) -> None:
        _above_zero(self, "excitatory_s inhibitory_s", section="synapse.")


@dataclass(kw_only=True)
class GlmConfig:
    """Point-process GLM neurons."""

    emission: Emission = "poisson"
    """Events of a step: `poisson` (any number) or `bernoulli` (at most one; for steps of about 1 ms)."""
    rate_hz: float = 6.0
    """Median rate of a neuron without input (events per second)."""
    rate_sigma: float = 0.4
    """Standard deviation over neurons of the logarithm of that rate."""
    ceiling_hz: float = 100.0
    """Highest intensity (events per second): there the log link saturates, so that bursts do not explode."""
    refractory_s: float = 0.0
    """Absolute refractory period: no event in this time after one (seconds)."""
    recovery: float = 2.0
    """Relative refractoriness: drop of the log-intensity right after an event."""
    recovery_s: float = 0.02
    """Time constant with which that drop decays (seconds)."""

    def __post_init__(self) -> None:
        _above_zero(self, "rate_hz recovery_s", section="glm.")
        _not_negative(self, "rate_sigma refractory_s recovery", section="glm.")
        at_least = f"more than glm.rate_hz ({self.rate_hz})"
        _require(self, "ceiling_hz", lambda v: v > self.rate_hz, at_least, section="glm.")


@dataclass(kw_only=True)
class LifConfig:
    """Current-based leaky integrate-and-fire neurons with escape noise; at most one event a step."""

    membrane_s: float = 0.02
    """Membrane time constant (seconds)."""
    rest_mv: float = -65.0
    """Resting potential (mV)."""
    reset_mv: float = -65.0
    """Potential right after an event and during the refractory period (mV)."""
    threshold_mv: float = -50.0
    """Potential at which a neuron fires at `escape_hz` (mV)."""
    escape_hz: float = 100.0
    """Escape rate at threshold (events per second)."""
    escape_mv: float = 3.0
    """Change of the potential that multiplies the escape rate by e (mV)."""
    refractory_s: float = 0.002
    """Absolute refractory period: no event in this time after one (seconds)."""
    input_mv: float = 8.0
    """Mean over neurons of the constant input (mV of current times resistance)."""
    input_sigma_mv: float = 1.0
    """Standard deviation over neurons of the constant input (mV)."""

    def __post_init__(self) -> None:
        _above_zero(self, "membrane_s escape_hz escape_mv", section="lif.")
        _not_negative(self, "refractory_s input_sigma_mv", section="lif.")
        potentials = "rest_mv reset_mv threshold_mv input_mv"
        _require(self, potentials, lambda v: True, "a finite number", section="lif.")


@dataclass(kw_only=True)
class DriveConfig:
    """Slow input that neurons share and that the session file does not show."""

    n: int = 0
    """Number of independent drives; 0: none."""
    time_constant_s: float = 0.5
    """Correlation time of each drive (seconds)."""
    strength: float = 0.9
    """Standard deviation of a neuron's total drive, in the unit of the weights."""

    def __post_init__(self) -> None:
        _not_negative(self, "n strength", section="drive.")
        _above_zero(self, "time_constant_s", section="drive.")


@dataclass(kw_only=True)
class CircuitConfig:
    """One circuit and one recording of it."""

    seed: int = 0
    """Seed. Wiring, neurons, drive and events have streams of their own: a longer run keeps the circuit."""
    units: int = 60
    """Number of observed neurons."""
    hidden: int = 0
    """Number of further neurons that take part in the circuit but are left out of the session file."""
    neuron: Literal["glm", "lif", "conductance", "izhikevich"] = "glm"
    """Neuron model: point-process GLM, current- or conductance-based integrate-and-fire, or Izhikevich's; the
    last three with escape noise."""
    dt_s: float = 0.005
    """Time step (seconds)."""
    duration_s: float = 500.0
    """Length of the recording (seconds), rounded to whole steps."""
    block_s: float = 1.0
    """Length of the blocks for which the true log-likelihood is kept (seconds), rounded to whole steps."""
    wiring: WiringConfig = field(default_factory=WiringConfig)
    """Connections."""
    synapse: SynapseConfig = field(default_factory=SynapseConfig)
    """Time course of their effect."""
    glm: GlmConfig = field(default_factory=GlmConfig)
    """Neurons of `neuron=glm`."""
    lif: LifConfig = field(default_factory=LifConfig)
    """Neurons of `neuron=lif`."""
    drive: DriveConfig = field(default_factory=DriveConfig)
    """Slow shared drive."""
    calcium: CalciumConfig = field(default_factory=CalciumConfig)
    """Calcium imaging."""
    states: StatesConfig = field(default_factory=StatesConfig)
    """Global states that the population switches between."""
    stimulus: StimulusConfig = field(default_factory=StimulusConfig)
    """Visual stimulus."""
    behavior: BehaviorConfig = field(default_factory=BehaviorConfig)
    """Behaviour."""
    conductance: ConductanceConfig = field(default_factory=ConductanceConfig)
    """Neurons of `neuron=conductance`."""
    izhikevich: IzhikevichConfig = field(default_factory=IzhikevichConfig)
    """Neurons of `neuron=izhikevich`."""
    plasticity: PlasticityConfig = field(default_factory=PlasticityConfig)
    """Weights that change once."""

    def __post_init__(self) -> None:
        _not_negative(self, "seed hidden")
        _above_zero(self, "units dt_s")
        at_least_one = f"at least one step (dt_s={self.dt_s})"
        _require(self, "duration_s block_s", lambda v: self.steps(v) >= 1, at_least_one)
        cure = f"{at_least_one}; raise it or lower dt_s"
        _require(self.wiring, "delay_min_s", lambda v: self.steps(v) >= 1, cure, section="wiring.")
        if self.neuron == "izhikevich":
            _require(self, "dt_s", lambda v: v <= 0.001, "at most 0.001 with neuron=izhikevich")
        highest = f"at most {HIGHEST_INTENSITY / self.dt_s:g} ({HIGHEST_INTENSITY:g} events in a step)"
        _require(
            self.glm, "ceiling_hz", lambda v: v * self.dt_s <= HIGHEST_INTENSITY, highest, section="glm."
        )

    @property
    def emission(self) -> Emission:
        """How events are drawn from intensities."""
        return self.glm.emission if self.neuron == "glm" else "bernoulli"

    @property
    def refractory_s(self) -> float:
        """Absolute refractory period of the neurons (seconds)."""
        match self.neuron:
            case "glm":
                return self.glm.refractory_s
            case "lif":
                return self.lif.refractory_s
            case "conductance":
                return self.conductance.refractory_s
            case "izhikevich":
                return 0.0  # their recovery variable keeps them from firing again at once

    def steps(self, seconds: float) -> int:
        """Whole number of steps nearest to a time in seconds."""
        return round(seconds / self.dt_s)


@dataclass(kw_only=True)
class SimulateConfig(CircuitConfig):
    """Settings of `python -m simulate`."""

    out: str = MISSING
    """Folder for the session file, config.yaml, metrics.json and figures/."""
    session_id: str = "simulated"
    """Name of the session and of its file, OUT/SESSION_ID.h5."""
    animals: int = 1
    """Number of animals; several have circuits of their own by the same rule, in OUT/animal_0.h5 and so on."""
    figure: bool = True
    """Draw wiring, raster and rates."""
    overwrite: bool = False
    """Replace a finished run in `out`."""

    whole_brain: WholeBrainConfig = field(default_factory=WholeBrainConfig)
    """A whole brain in calcium frames instead of a circuit; of the other settings, units, seed and animals count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self, "animals")
        brain = self.whole_brain
        if brain.frames and brain.drivers + brain.followers > self.units:
            raise UserError(
                f"units={self.units}: expected at least whole_brain.drivers + followers "
                f"({brain.drivers} + {brain.followers})"
            )
        name = self.session_id
        if not name.strip() or PurePath(name).name != name:
            raise UserError(
                f"session_id={name}: expected a name that can be that of a file, without a folder"
            )
