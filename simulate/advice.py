"""What to change in a circuit that is silent or epileptic: the settings that apply to it."""

from dataclasses import dataclass

from simulate.config import CircuitConfig

INPUT = {
    "glm": "glm.rate_hz",
    "lif": "lif.input_mv",
    "conductance": "conductance.input_mv",
    "izhikevich": "izhikevich.input",
}
"""By neuron: the setting that makes it fire without the others."""
FURTHER = {
    "ring": "raise wiring.ring.inhibitory_deg or wiring.ring.excitatory_deg",
    "clustered": "lower wiring.clustered.strength or wiring.clustered.ratio",
    "motifs": "lower wiring.motifs.convergent or wiring.motifs.divergent",
    "feed_forward": "lower wiring.feed_forward.layers",
    "small_world": "raise wiring.small_world.rewire",
    "distance": "raise wiring.distance.length_um",
}
"""By kind of wiring: what makes its activity less local or less alike."""


@dataclass(frozen=True)
class Advice:
    """What wakes a circuit and what calms it."""

    wake: str
    """For a silent one."""
    calm: str
    """For an epileptic one."""


def advise(config: CircuitConfig) -> Advice:
    """Name the settings that matter in this circuit."""
    source = INPUT[config.neuron]
    wake = [f"raise {source}", "lower wiring.inhibition"]
    less = ["wiring.weight", "wiring.density"]
    if config.drive.n:
        less.append("drive.strength")
    calm = [f"lower {', '.join(less)} or {source}", "raise wiring.inhibition"]
    if config.wiring.kind in FURTHER:
        calm.append(FURTHER[config.wiring.kind])
    if config.plasticity.fraction and (config.plasticity.factor or 0) > 1:
        calm.append("lower plasticity.factor")
    return Advice(wake=", or ".join(wake), calm=", or ".join(calm))
