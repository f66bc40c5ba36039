"""Contrastive alignment: symmetric, causal, blind to other modalities, nothing at all when off, and it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neuroformer.batch import Batch, FrameStack, Variable
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)
from neuroformer.model.alignment import info_nce, modality_of
from neuroformer.model.encoders import VariableShape
from neuroformer.settings.context import AlignmentConfig, ContextConfig, ReadoutConfig

VARIABLES = (
    VariableShape(name="contrast", kind="continuous", shape=(1,), lower=(-3.0,), upper=(3.0,),
                  is_decoded=False, source="stimulus"),
    VariableShape(name="movie", kind="frames", shape=(1, 4, 4), horizon=6, is_decoded=False, source="stimulus",
                  encoder="patches"),
    VariableShape(name="speed", kind="continuous", shape=(1,), lower=(-3.0,), upper=(3.0,)),
    VariableShape(name="lick", kind="categorical", n_labels=3, is_input=False),
)  # fmt: skip
N_BINS, FIRST = 40, 12


def make(
    weight: float = 1.0, variables: tuple[VariableShape, ...] = VARIABLES, **settings: object
) -> Neuroformer:
    torch.manual_seed(0)
    config = ModelConfig(
        coupling=CouplingConfig(heads=1, window_s=2.0),
        history=HistoryConfig(window_s=2.0, functions=2),
        trunk=TrunkConfig(layers=0, state=0),
        context=ContextConfig(width=16, features=4, heads=2),
        readout=ReadoutConfig(width=16, heads=2, time_constants_s=[1.0], dropout=0.0, unit_dropout=0.0),
        alignment=AlignmentConfig(weight=weight, width=8, time_constants_s=[1.0], gap_s=3.0, **settings),  # type: ignore[arg-type]
    )
    shapes = [
        SessionShape(rate=torch.full((n,), 0.3), train_bins=1000, level_frequency=torch.ones(1))
        for n in (5, 4)
    ]
    return Neuroformer(config=config, bin_s=1.0, sessions=shapes, variables=variables)


def draw_batch(seed: int = 0, n_rows: int = 4, n_bins: int = N_BINS, first: int = FIRST) -> Batch:
    g = torch.Generator().manual_seed(seed)
    n_events, session = 60, torch.arange(n_rows) % 2
    n_units = torch.tensor([5, 4])[session]
    unit_row = torch.arange(5).expand(n_rows, -1) + 5 * session[:, None]
    unit_mask = torch.arange(5) < n_units[:, None]
    scored = torch.zeros(n_rows, n_bins, dtype=torch.bool)
    scored[:, first:] = True
    known = torch.rand(n_rows, n_bins, generator=g) < 0.8
    return Batch(
        session=session,
        unit_row=unit_row * unit_mask,
        unit_mask=unit_mask,
        event_unit=torch.randint(0, 4, (n_rows, n_events), generator=g),
        event_bin=torch.randint(0, n_bins, (n_rows, n_events), generator=g).sort(1).values,
        event_level=torch.zeros(n_rows, n_events, dtype=torch.long),
        event_mask=torch.rand(n_rows, n_events, generator=g) < 0.9,
        scored=scored,
        variables={
            "contrast": Variable(values=torch.randn(n_rows, n_bins, 1, generator=g), known=known),
            "speed": Variable(values=torch.randn(n_rows, n_bins, 1, generator=g), known=known.flip(1)),
            "lick": Variable(
                values=torch.randint(0, 3, (n_rows, n_bins), generator=g), known=known.roll(3, 1)
            ),
        },
        frames={
            "movie": FrameStack(
                values=torch.randn(n_rows, 8, 1, 4, 4, generator=g),
                bins=torch.arange(0, 40, 5).expand(n_rows, -1),
                known=torch.ones(n_rows, 8, dtype=torch.bool),
            )
        },
    )


def changed(batch: Batch, what: str, after: int = -1) -> Batch:
    """The batch with events, stimulus or behaviour changed in bins past `after`."""
    other = draw_batch(seed=99)
    late = torch.arange(N_BINS) > after
    if what == "events":
        moved = torch.where(batch.event_bin > after, (batch.event_unit + 1) % 4, batch.event_unit)
        return replace(batch, event_unit=moved)

    def mixed(name: str) -> Variable:
        a, b = batch.variables[name], other.variables[name]
        shape = (1, -1) + (1,) * (a.values.ndim - 2)
        return Variable(
            values=torch.where(late.view(shape), b.values, a.values),
            known=torch.where(late, b.known, a.known),
        )

    if what == "behavior":
        return replace(batch, variables=batch.variables | {n: mixed(n) for n in ("speed", "lick")})
    movie = batch.frames["movie"]
    newer = (movie.bins > after)[..., None, None, None]
    frames = {"movie": replace(movie, values=torch.where(newer, other.frames["movie"].values, movie.values))}
    return replace(batch, variables=batch.variables | {"contrast": mixed("contrast")}, frames=frames)


def test_info_nce_is_the_mean_of_two_cross_entropies_and_symmetric() -> None:
    torch.manual_seed(1)
    a, b = (torch.nn.functional.normalize(torch.randn(6, 3), dim=-1) for _ in range(2))
    scale = torch.tensor(4.0)
    everyone = ~torch.eye(6, dtype=torch.bool)
    target = torch.arange(6)
    cross = torch.nn.functional.cross_entropy
    expected = 0.5 * (cross(scale * a @ b.T, target) + cross(scale * b @ a.T, target))
    found, swapped = info_nce(a, b, scale, everyone), info_nce(b, a, scale, everyone)
    assert found is not None
    assert swapped is not None
    assert torch.allclose(found, expected)
    assert torch.allclose(found, swapped)


def test_info_nce_leaves_out_rows_that_are_told_apart_from_nothing() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(5, 3), dim=-1) for _ in range(2))
    pairs = ~torch.eye(5, dtype=torch.bool)
    pairs[4], pairs[:, 4] = False, False
    some, few = (
        info_nce(a, b, torch.tensor(2.0), pairs),
        info_nce(a[:4], b[:4], torch.tensor(2.0), pairs[:4, :4]),
    )
    assert some is not None
    assert few is not None
    assert torch.allclose(some, few)
    assert info_nce(a, b, torch.tensor(2.0), torch.zeros(5, 5, dtype=torch.bool)) is None


@pytest.mark.parametrize("what", ["events", "stimulus", "behavior"])
def test_a_latent_is_blind_to_the_other_modalities_and_to_the_future(what: str) -> None:
    model, batch = make().eval(), draw_batch()
    before = model.latents(batch)
    assert set(before) == {"events", "stimulus", "behavior"}
    cut = 25
    other, late = model.latents(changed(batch, what)), model.latents(changed(batch, what, after=cut))
    for modality, (latent, _) in before.items():
        if modality != what:
            assert torch.equal(other[modality][0], latent)
        assert torch.equal(late[modality][0][:, : cut + 1 - FIRST], latent[:, : cut + 1 - FIRST])
    assert not torch.allclose(other[what][0], before[what][0])
    assert not torch.allclose(late[what][0][:, cut + 1 - FIRST :], before[what][0][:, cut + 1 - FIRST :])


def test_latents_do_not_depend_on_how_much_history_is_read() -> None:
    model, batch = make().eval(), draw_batch()
    short = 3

    def without(batch: Batch) -> Batch:
        scored = batch.scored.clone()
        scored[:, : model.context + short] = False
        return replace(batch, scored=scored)

    long, last = without(batch), without(batch)
    cut = {
        n: Variable(values=v.values[:, short:], known=v.known[:, short:]) for n, v in last.variables.items()
    }
    movie = last.frames["movie"]
    last = replace(
        last,
        scored=last.scored[:, short:],
        event_bin=(last.event_bin - short).clamp(min=0),
        event_mask=last.event_mask & (last.event_bin >= short),
        variables=cut,
        frames={"movie": replace(movie, bins=movie.bins - short, known=movie.known & (movie.bins >= short))},
    )
    assert long.first_scored == last.first_scored + short
    for modality, (latent, known) in model.latents(long).items():
        found, there = model.latents(last)[modality]
        assert torch.equal(there, known)
        assert torch.allclose(found[known], latent[known], atol=1e-5)


def test_unknown_bins_take_no_part() -> None:
    model, batch = make().train(), draw_batch()
    nothing = {n: v.hide(torch.ones(4, dtype=torch.bool)) for n, v in batch.variables.items()}
    movie = batch.frames["movie"].hide(torch.ones(4, dtype=torch.bool))
    hidden = replace(batch, variables=nothing, frames={"movie": movie})
    torch.manual_seed(3)
    assert "align" not in model.loss(hidden)
    assert "align" in model.loss(hidden, known=batch)  # the task hides, the alignment knows
    values = {n: replace(v, values=torch.where(_like(v), v.values, 1)) for n, v in batch.variables.items()}
    torch.manual_seed(4)
    first = model.loss(batch)["align"]
    torch.manual_seed(4)
    assert torch.equal(first, model.loss(replace(batch, variables=values))["align"])


def _like(variable: Variable) -> Tensor:
    return variable.known if variable.values.ndim == 2 else variable.known.unsqueeze(-1)


def test_bins_are_drawn_among_the_allowed_ones_without_repeats() -> None:
    model = make(bins=5)
    assert model.alignment is not None
    allowed = torch.rand(4, 30, generator=torch.Generator().manual_seed(0)) < 0.3
    allowed[2] = False
    allowed[3] = torch.arange(30) < 2
    torch.manual_seed(0)
    row, column, drawn = model.alignment.draw(allowed)
    assert allowed[row[drawn], column[drawn]].all()
    assert [int((drawn & (row == k)).sum()) for k in range(4)] == [5, 5, 0, 2]
    assert len({(int(r), int(c)) for r, c in zip(row, column, strict=True)}) == len(row)


def test_augmented_events_keep_their_sum_on_average() -> None:
    model, batch = make(drop_units=0.3, thin_events=0.2, shift_weights=0.3), draw_batch()
    assert model.alignment is not None
    weight = torch.ones(batch.event_mask.shape)
    torch.manual_seed(0)
    found = torch.stack([model.alignment.changed(batch, weight) for _ in range(1500)])
    assert torch.allclose(found.mean(0), weight, atol=0.1)
    assert ((found == 0).float().mean() - (1 - 0.7 * 0.8)).abs() < 0.01


def test_switched_off_the_model_is_as_before_bit_by_bit() -> None:
    off, batch = make(weight=0.0), draw_batch()
    assert off.alignment is None
    assert off.latents(batch) == {}
    assert not [name for name in off.state_dict() if "align" in name]
    assert off.context == 6
    torch.manual_seed(5)
    parts = off.train().loss(batch)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    again = off.loss(batch, known=changed(batch, "behavior"))
    assert torch.equal(parts["loss"], again["loss"])
    assert torch.equal(state, torch.get_rng_state())
    assert set(parts) == {"loss", "nll", "level_nll", "kl"}


def test_on_it_draws_nothing_into_the_rest_of_a_new_model() -> None:
    on, off = make(1.0), make(0.0)
    rest = off.state_dict()
    shared = {k: v for k, v in on.state_dict().items() if k in rest}
    assert set(rest) == set(shared)
    fixed = [k for k in rest if k.startswith("context_path.encoders")]
    assert fixed
    assert all(torch.equal(rest[k], shared[k]) for k in fixed)
    parts = on.loss(draw_batch())
    assert math.isclose(
        float(parts["loss"].detach()),
        sum(float(parts[k]) for k in ("nll", "level_nll", "kl", "align")),
        rel_tol=1e-5,
    )


def test_without_variables_there_is_nothing_to_align() -> None:
    assert make(1.0, variables=()).alignment is None


def test_a_session_can_be_added_to_a_model_whose_events_have_a_pool_of_their_own() -> None:
    model = make(1.0, variables=VARIABLES[:2])  # nothing is decoded
    assert model.readout is None
    assert model.alignment is not None
    assert model.alignment.events is not None
    model.add_session(SessionShape(rate=torch.full((3,), 0.2), train_bins=10, level_frequency=torch.ones(1)))
    assert len(model.alignment.events.unit) == 12
    assert any(table is model.alignment.events.unit for table in model.unit_tables())
    assert any(table is model.alignment.events.session for table in model.session_tables())
    assert set(model.latents(draw_batch())) == {"events", "stimulus"}


def test_where_a_variable_is_read_tells_its_modality() -> None:
    shape = VARIABLES[0]
    assert modality_of(shape) == "stimulus"
    assert modality_of(replace(shape, source="behavior")) == "behavior"
    assert modality_of(replace(shape, source="trials")) == "behavior"
    assert modality_of(replace(shape, source="trials"), ["contrast"]) == "stimulus"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, "alignment.weight=-1"),
        ({"bins": 0}, "alignment.bins=0"),
        ({"temperature": 0.0}, "alignment.temperature=0"),
        ({"drop_units": 1.0}, "alignment.drop_units=1"),
        ({"time_constants_s": []}, "alignment.time_constants_s"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlignmentConfig(**settings)  # type: ignore[arg-type]


def test_it_learns_to_match_moments_of_two_animals() -> None:
    """Each of five units of either animal prefers one range of speed; unseen moments are matched after training."""
    model = make(1.0, variables=(VARIABLES[2],), temperature=0.3)
    preferred = torch.tensor([[-1.6, -0.8, 0.0, 0.8, 1.6], [0.8, -1.6, 1.6, -0.4, 9.0]])

    def moments(seed: int, n_rows: int = 8, n_bins: int = 16) -> Batch:
        g = torch.Generator().manual_seed(seed)
        speed = torch.rand(n_rows, n_bins, 1, generator=g).mul(4).sub(2)
        speed = speed.repeat_interleave(8, 1)[:, :n_bins]  # holds for 8 bins
        session = torch.arange(n_rows) % 2
        rate = 3 * torch.exp(-0.5 * ((speed - preferred[session][:, None]) / 0.4) ** 2)
        counts = torch.poisson(rate, generator=g).long()  # (B, T, 5)
        n = int(counts.sum((1, 2)).max())
        unit, at, mask = torch.zeros(n_rows, n).long(), torch.zeros(n_rows, n).long(), torch.zeros(n_rows, n)
        for k in range(n_rows):
            bins, units = counts[k].nonzero(as_tuple=True)
            times = counts[k][bins, units]
            m = int(times.sum())
            at[k, :m], unit[k, :m] = bins.repeat_interleave(times), units.repeat_interleave(times)
            mask[k, :m] = 1
        n_units = torch.tensor([5, 4])[session]
        unit_mask = torch.arange(5) < n_units[:, None]
        return Batch(
            session=session,
            unit_row=(torch.arange(5).expand(n_rows, -1) + 5 * session[:, None]) * unit_mask,
            unit_mask=unit_mask,
            event_unit=unit,
            event_bin=at,
            event_level=torch.zeros_like(unit),
            event_mask=(mask > 0) & (unit < n_units[:, None]),
            scored=(torch.arange(n_bins) >= 4).expand(n_rows, -1),
            variables={"speed": Variable(values=speed, known=torch.ones(n_rows, n_bins, dtype=torch.bool))},
        )

    def matched() -> float:
        """How often the behaviour nearest to the events of a row's last bin is the one of that bin, of 8 rows."""
        model.eval()
        with torch.no_grad():
            right = []
            for seed in range(1000, 1010):
                found = model.latents(moments(seed))
                cosine = (
                    found["events"][0][:, 3] @ found["behavior"][0][:, 3].T
                )  # bin 7: the end of one moment
                right.append((cosine.argmax(1) == torch.arange(8)).float().mean())
        model.train()
        return float(torch.stack(right).mean())

    before = matched()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(80):
        torch.manual_seed(step)
        optimizer.zero_grad()
        batch = moments(step)
        assert model.alignment is not None
        loss = model.alignment(
            batch, model.event_weight(batch), readout=model.readout, context=model.context_path
        )
        loss.backward()
        optimizer.step()
    assert before < 0.3  # chance is 1 / 8
    assert matched() > 0.45
