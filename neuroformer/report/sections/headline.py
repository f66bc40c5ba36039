"""The numbers to be seen first: held-out likelihood in one table, and what it says in words."""

from collections.abc import Iterator

from neuroformer.decoding.learning_curve import amount_label, method_name
from neuroformer.plotting import method_label
from neuroformer.report.blocks import (
    Block,
    Card,
    Cards,
    Missing,
    Paragraph,
    Section,
    Table,
    duration,
    interval,
    number,
    percent,
    signed,
)
from neuroformer.report.collect import Run, Score
from neuroformer.report.lead import leading_estimator


def blocks(run: Run) -> Iterator[Block]:
    """Cards, a verdict in words, and a table of bits per spike."""
    scores = run.likelihoods()
    behavior = list(_behavior_cards(run))
    cards = [*_likelihood_cards(run, scores), *_wiring_cards(run), *behavior]
    if cards:
        yield Cards(cards)
    if not scores:
        if behavior:  # the run was for behaviour
            return
        yield Missing(
            "Held-out likelihood has not been measured yet.", f"neuroformer evaluate run={run.path}"
        )
        return
    yield Paragraph(verdict(run, scores))
    truth = scores.get("truth")
    yield Table(
        columns=("", "bits per spike", "95 % interval", *(["of the attainable"] if truth else [])),
        rows=[
            (
                method_label(name),
                number(score.value),
                interval(score.bounds) or "–",
                *([percent(score.value / truth.value) if truth.value > 0 else "–"] if truth else []),
            )
            for name, score in scores.items()
        ],
        caption=_table_caption(run, scores),
        emphasis=list(scores).index("model") if "model" in scores else None,
    )


SECTION = Section(slug="summary", title="In short", blocks=blocks)


def verdict(run: Run, scores: dict[str, Score]) -> str:
    """What the likelihoods say, in words that claim no more than the intervals allow."""
    if "model" not in scores:
        return "The evaluation holds no score of the model itself."
    model = scores["model"]
    sentences = [_against_constant_rates(model)]
    gain = run.gain()
    if gain is not None:
        sentences.append(_against_glm(gain))
    attained = run.attained()
    if attained is not None:
        sentences.append(
            f"It reaches {percent(attained.value)} of what is attainable: the score of the simulator's own "
            "intensities, which no model of the same recording can be expected to beat."
        )
    return " ".join(sentences)


def _against_constant_rates(model: Score) -> str:
    if model.value < 0:
        return (
            f"On held-out time the model predicts events worse than constant firing rates do, by "
            f"{number(-model.value)} bits per event."
        )
    text = f"On held-out time the model gains {number(model.value)} bits per event over constant firing rates"
    if model.bounds is None:
        return f"{text}."
    if model.bounds[0] > 0:
        return f"{text}, clearly above zero."
    return f"{text}, which the uncertainty of the recording does not tell from zero."


def _against_glm(gain: Score) -> str:
    size = f"{number(abs(gain.value))} bits per spike"
    if gain.bounds is None:
        return f"It is {size} {'above' if gain.value >= 0 else 'below'} the Poisson GLM."
    low, high = gain.bounds
    bounds = f"(95 % interval of the difference {interval(gain.bounds)})"
    if low > 0:
        return f"It beats the Poisson GLM by {size} {bounds}."
    if high < 0:
        return f"The Poisson GLM is better by {size} {bounds}."
    return f"Beside the Poisson GLM the difference is within the uncertainty {bounds}."


def _likelihood_cards(run: Run, scores: dict[str, Score]) -> Iterator[Card]:
    if "model" in scores:
        score = scores["model"]
        yield Card(number(score.value), "bits per spike", _bounds(score))
    gain = run.gain()
    if gain is not None:
        yield Card(signed(gain.value), "bits/spike over the GLM", _bounds(gain))
    attained = run.attained()
    if attained is not None:
        yield Card(percent(attained.value), "of the attainable", _percent_bounds(attained))


def _wiring_cards(run: Run) -> Iterator[Card]:
    scores = run.wiring_scores()
    lead = leading_estimator(scores)
    if lead is None:
        return
    rivals = {name: values for name, values in scores.items() if name != lead}
    rival = next(iter(rivals), None)
    detail = method_label(lead)
    if rival is not None:
        detail += f"; {method_label(rival)} {number(rivals[rival]['average_precision'])}"
    yield Card(number(scores[lead]["average_precision"]), "average precision, wiring", detail)


def _behavior_cards(run: Run) -> Iterator[Card]:
    found = run.fewshot()
    if found is None:
        return
    for lead, best in found.at_fewest():
        unit = found.unit_of(lead)
        yield Card(
            f"{lead['mean']:.3g}{unit}",
            f"{lead['metric'].replace('_', ' ')}, {lead['target']} of a new animal",
            f"{amount_label(lead['amount'], found.amounts)}; best other: {method_name(best['method'])} "
            f"{best['mean']:.3g}{unit}",
        )


def _table_caption(run: Run, scores: dict[str, Score]) -> str:
    metrics = run.metrics("evaluate") or {}
    parts = [
        "Bits per spike: log-likelihood gained over constant rates, per event; 0 is a homogeneous Poisson process."
    ]
    events, seconds = metrics.get("n_events"), metrics.get("test_seconds")
    if isinstance(events, int) and isinstance(seconds, int | float):
        parts.append(f"Scored on {events:,} events in {duration(seconds)} that no fit has seen.")
    if any(score.bounds for score in scores.values()):
        parts.append("Intervals: bootstrap over blocks of time.")
    else:
        parts.append("There was too little held-out time for intervals.")
    if "truth" in scores:
        parts.append("Attainable: the score of the intensities that generated the data.")
    return " ".join(parts)


def _bounds(score: Score) -> str:
    return f"95 % interval {interval(score.bounds)}" if score.bounds else ""


def _percent_bounds(score: Score) -> str:
    if score.bounds is None:
        return ""
    return f"95 % interval {number(100 * score.bounds[0], 1)} to {percent(score.bounds[1])}"
