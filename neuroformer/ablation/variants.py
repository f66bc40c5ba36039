"""The variants of an ablation: a full model's settings with one thing changed.

    full            as given
    events_only     no stimulus and no behaviour: events from events, task `spikes`
    plus_NAME       events and one variable as context, tasks `spikes` and `encode`
    without_NAME    everything but one variable (on request)
    encode_only     the one task: events from events, stimulus and behaviour
    decode_only     the one task: behaviour (and events) from events
    no_alignment    the latents are not aligned; `with_alignment`, if the full model does not align them
    no_trunk        no slow shared state

The coupling has no switch, so there is no variant without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neuroformer.errors import UsageError
from neuroformer.settings.context import TaskConfig
from neuroformer.settings.training import PretrainConfig

FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model of the table.

    Attributes:
        name: as typed.
        label: in words.
        config: settings of its run.
    """

    name: str
    label: str
    config: PretrainConfig

    @property
    def view(self) -> str:
        """The task in whose view the events are scored: the most that the model learned to be given."""
        tasks, variables = self.config.tasks, self.config.data.variables.values()
        inputs = [v for v in variables if v.role != "target"]
        if inputs and (tasks.encode or tasks.joint):
            return "encode"
        return "decode" if inputs and tasks.decode else "spikes"

    @property
    def alone(self) -> bool:
        """Whether the model learned to predict events from events alone."""
        tasks, variables = self.config.tasks, self.config.data.variables.values()
        if all(v.role == "target" for v in variables) or tasks.spikes or tasks.joint:
            return True
        return bool(tasks.decode) and all(v.role != "context" for v in variables)

    @property
    def decodes(self) -> bool:
        """Whether the model learned to decode."""
        tasks, variables = self.config.tasks, self.config.data.variables.values()
        return bool(tasks.decode or tasks.joint) and any(v.role != "context" for v in variables)


def make_variants(
    config: PretrainConfig, wanted: Sequence[str] = (), *, alignment_weight: float = 0.1
) -> list[Variant]:
    """The full model and the variants of its settings.

    Args:
        config: of the full model.
        wanted: names; by default all but without_NAME.
        alignment_weight: in `with_alignment`.

    Raises:
        UsageError: a name that these settings do not have.
    """
    found = {v.name: v for v in _all(config, alignment_weight)}
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise UsageError(
            f"variants: {unknown[0]!r} is none of these settings; expected some of {', '.join(found)}"
        )
    names = list(wanted) or [name for name in found if not name.startswith("without_")]
    return [found[name] for name in dict.fromkeys([FULL, *names])]


def _all(config: PretrainConfig, alignment_weight: float) -> list[Variant]:
    variables, tasks, model = config.data.variables, config.tasks, config.model
    inputs = [name for name, v in variables.items() if v.role != "target"]
    decoded = [name for name, v in variables.items() if v.role != "context"]
    unaligned = replace(model, alignment=replace(model.alignment, weight=0.0))
    labels = config.data.labels
    few_labels = labels.minutes is not None or labels.fraction is not None

    def variant(name: str, label: str, **changes: object) -> Variant:
        return Variant(name=name, label=label, config=replace(config, **changes))  # type: ignore[arg-type]

    found = [variant(FULL, "full model")]
    if inputs or decoded:
        found.append(
            variant(
                "events_only",
                "events only",
                data=replace(config.data, variables={}),
                model=unaligned,
                tasks=TaskConfig(),
            )
        )
    for name in inputs:
        # With few labels the role stays: a context variable would keep all its values, and the variant know more of it
        # than the full model. The readout that comes with the role is then never trained, nor scored.
        role = variables[name].role if few_labels else "context"
        one = {name: replace(variables[name], role=role)}
        found.append(
            variant(
                f"plus_{name}",
                f"events + {name}",
                data=replace(config.data, variables=one),
                model=unaligned,
                tasks=replace(tasks, encode=tasks.encode or 1.0, decode=0.0, joint=0.0),
            )
        )
    for name in variables:
        if len(variables) > 1:
            rest = {other: v for other, v in variables.items() if other != name}
            found.append(
                variant(f"without_{name}", f"without {name}", data=replace(config.data, variables=rest))
            )
    if inputs:
        only = replace(tasks, spikes=0.0, encode=1.0, decode=0.0, joint=0.0)
        found.append(variant("encode_only", "task encode only", tasks=only))
    if decoded:
        only = replace(tasks, spikes=0.0, encode=0.0, decode=1.0, joint=0.0)
        found.append(variant("decode_only", "task decode only", tasks=only))
    if variables and model.alignment.weight:
        found.append(variant("no_alignment", "without alignment", model=unaligned))
    elif variables:
        aligned = replace(model, alignment=replace(model.alignment, weight=alignment_weight))
        found.append(variant("with_alignment", "with alignment", model=aligned))
    if model.trunk.state:
        found.append(
            variant("no_trunk", "without trunk", model=replace(model, trunk=replace(model.trunk, state=0)))
        )
    return found
