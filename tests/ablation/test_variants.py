"""Which variants the settings allow, and what each of them is scored on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuroformer.ablation.run import same_split
from neuroformer.ablation.variants import make_variants
from neuroformer.errors import UsageError
from neuroformer.settings.ablation import AblationConfig
from neuroformer.settings.context import AlignmentConfig
from neuroformer.settings.data import DataConfig, SplitConfig
from neuroformer.settings.model import ModelConfig, TrunkConfig
from neuroformer.settings.training import PretrainConfig
from neuroformer.settings.variables import LabelsConfig, VariableConfig
from neuroformer.training.run import context_of

BOTH, TARGET, CONTEXT = (VariableConfig(role=role) for role in ("both", "target", "context"))


def settings(**data: object) -> PretrainConfig:
    variables = {"speed": BOTH, "choice": TARGET, "light": CONTEXT}
    return PretrainConfig(out="out", data=DataConfig(**{"variables": variables} | data))  # type: ignore[arg-type]


def test_by_default_all_variants_but_those_without_one_variable() -> None:
    names = [v.name for v in make_variants(settings())]
    assert names == [
        "full", "events_only", "plus_speed", "plus_light", "encode_only", "decode_only", "with_alignment", "no_trunk"
    ]  # fmt: skip


def test_each_is_scored_on_what_it_learned() -> None:
    found = {v.name: v for v in make_variants(settings())}
    assert {n: (v.view, v.alone, v.decodes) for n, v in found.items()} == {
        "full": ("encode", True, True),
        "events_only": ("spikes", True, False),
        "plus_speed": ("encode", True, False),
        "plus_light": ("encode", True, False),
        "encode_only": ("encode", False, False),
        "decode_only": ("decode", False, True),  # light is known when it decodes
        "with_alignment": ("encode", True, True),
        "no_trunk": ("encode", True, True),
    }
    speed = {v.name: v for v in make_variants(settings(variables={"speed": BOTH}))}
    assert speed["decode_only"].alone


def test_the_full_model_comes_first_and_names_are_checked() -> None:
    assert [v.name for v in make_variants(settings(), ["without_speed"])] == ["full", "without_speed"]
    with pytest.raises(UsageError, match=r"'plus_choice' is none of these.*plus_speed"):
        make_variants(settings(), ["plus_choice"])


def test_alignment_is_taken_away_where_there_is_one() -> None:
    config = replace(settings(), model=ModelConfig(alignment=AlignmentConfig(weight=0.3)))
    found = {v.name: v.config.model.alignment.weight for v in make_variants(config)}
    assert "with_alignment" not in found
    assert found["full"] == 0.3
    assert found["no_alignment"] == 0
    assert found["events_only"] == 0


def test_with_few_labels_a_variable_alone_is_known_no_better_than_in_the_full_model() -> None:
    many, few = (
        next(v for v in make_variants(settings(labels=labels)) if v.name == "plus_speed")
        for labels in (LabelsConfig(), LabelsConfig(minutes=2))
    )
    assert many.config.data.variables["speed"].role == "context"
    assert few.config.data.variables["speed"].role == "both"
    assert not few.decodes


def test_a_model_of_events_alone_has_little_to_take_away() -> None:
    assert [v.name for v in make_variants(settings(variables={}))] == ["full", "no_trunk"]
    config = replace(settings(variables={}), model=ModelConfig(trunk=TrunkConfig(state=0)))
    assert [v.name for v in make_variants(config)] == ["full"]


def test_all_variants_have_gaps_that_suit_the_one_that_looks_back_furthest() -> None:
    config = same_split(settings(split=SplitConfig(val=0.2)), 0.1)
    variants = make_variants(config)
    gaps = {v.config.data.split.gap_s for v in variants}
    needed = max(context_of(v.config.model, v.config.data) for v in variants)
    assert gaps == {needed * config.data.bin_s}
    assert config.data.split.val == 0.2
    assert same_split(settings(split=SplitConfig(gap_s=99.0)), 0.1).data.split.gap_s == 99


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"resume": "last.ckpt"}, "goes on by itself"),
        ({"seeds": 0}, "seeds=0"),
        ({"block_s": 0.0}, "block_s=0"),
        ({"alignment_weight": 0.0}, "alignment_weight=0"),
        ({"val_every": 0}, "val_every=0"),
    ],
)
def test_settings_out_of_range_are_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AblationConfig(out="out", **words)  # type: ignore[arg-type]
