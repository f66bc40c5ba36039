"""Several runs side by side, on top of the report."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure

from neuroformer.decoding.learning_curve import amount_label, method_name
from neuroformer.plotting import INK, MUTED, method_color, method_label, new_figure, style
from neuroformer.report.blocks import Block, Drawing, Table, interval, number, percent, signed
from neuroformer.report.collect import Run, Score
from neuroformer.report.lead import leading_estimator

_LIKELIHOODS = ("model", "poisson_glm", "homogeneous_poisson", "truth")


def blocks(runs: Sequence[Run]) -> list[Block]:
    """One table of the runs' main numbers and, where there are any, one figure."""
    behavior = list(_behavior(runs))
    scored = [run for run in runs if not behavior or run.likelihoods() or run.wiring_scores()]
    likelihoods = [run.likelihoods() for run in scored]
    wiring = [
        {name: scores["average_precision"] for name, scores in run.wiring_scores().items()} for run in scored
    ]
    found: list[Block] = [_table(scored, likelihoods, wiring)] if scored else []
    if any(likelihoods) or any(wiring):
        found.append(
            Drawing(
                figure=draw([run.name for run in scored], likelihoods, wiring),
                title="All runs",
                caption="Left: bits per spike on held-out time (lines: 95 % intervals); 0 is constant firing rates. "
                "Right: how well the known wiring is found, where it is known; 1 is a perfect ranking of pairs.",
            )
        )
    return [*found, *behavior]


def _behavior(runs: Sequence[Run]) -> Iterator[Table]:
    """New animals at the fewest labels: the pretrained model beside the best of everything else."""
    rows = []
    for run in runs:
        found = run.fewshot()
        if found is None:
            continue
        for lead, best in found.at_fewest():
            rows.append(
                (
                    run.name,
                    f"{lead['target']}: {lead['metric'].replace('_', ' ')}{found.unit_of(lead, '({})')}",
                    amount_label(lead["amount"], found.amounts),
                    _bounded(lead),
                    f"{method_name(best['method'])}: {_bounded(best)}",
                )
            )
    if rows:
        yield Table(
            columns=("run", "new animal", "labels", "pretrained model", "best other method"),
            rows=rows,
            caption="Behaviour of an animal that pretraining has not seen, at the fewest labels that were tried. "
            "In brackets: 95 % interval.",
        )


def _bounded(row: Mapping[str, Any]) -> str:
    bounds = interval(row["interval"], 2)
    return f"{number(row['mean'], 2)} ({bounds})" if bounds else number(row["mean"], 2)


def _table(
    runs: Sequence[Run], likelihoods: Sequence[dict[str, Score]], wiring: Sequence[dict[str, float]]
) -> Table:
    rows = []
    for run, scores, precision in zip(runs, likelihoods, wiring, strict=True):
        gain, attained = run.gain(), run.attained()
        lead = leading_estimator(precision)
        rivals = [value for name, value in precision.items() if name != lead]
        rows.append(
            (
                run.name,
                *(
                    number(scores[name].value if name in scores else None)
                    for name in ("model", "poisson_glm")
                ),
                _difference(gain),
                percent(attained.value) if attained is not None else "–",
                number(None if lead is None else precision[lead]),
                number(max(rivals, default=None)),
            )
        )
    return Table(
        columns=(
            "run",
            "Neuroformer, bits per spike",
            "Poisson GLM, bits per spike",
            "difference (95 % interval)",
            "of the attainable",
            "wiring by coupling, AP",
            "best other estimator, AP",
        ),
        rows=rows,
        caption="AP: average precision of the edges, where the wiring is known.",
    )


def _difference(gain: Score | None) -> str:
    if gain is None:
        return "–"
    bounds = interval(gain.bounds)
    return f"{signed(gain.value)} ({bounds})" if bounds else signed(gain.value)


def draw(
    names: Sequence[str], likelihoods: Sequence[dict[str, Score]], wiring: Sequence[dict[str, float]]
) -> Figure:
    """Runs as rows: likelihood to the left, average precision to the right."""
    # Matplotlib would read what stands between two dollar signs as a formula.
    labels = [fill(name, 18).replace("$", r"\$") for name in names]
    estimators = list(dict.fromkeys(name for scores in wiring for name in scores))
    below = 0.25 + 0.22 * max(2, -(-len(estimators) // 2))  # inches for the legends
    above = 0.9 + 0.6 * len(names)
    figure = new_figure(width=7.8, height=above + below)
    with style():
        # Legends have axes of their own: hung below an axis they would lose their last line to the figure's edge.
        grid = figure.add_gridspec(2, 2, height_ratios=(above, below))
        left = figure.add_subplot(grid[0, 0])
        right = figure.add_subplot(grid[0, 1], sharey=left)
        right.tick_params(labelleft=False)
        methods = [name for name in _LIKELIHOODS if any(name in scores for scores in likelihoods)]
        for shift, name in zip(_shifts(len(methods)), methods, strict=True):
            rows = [row for row, scores in enumerate(likelihoods) if name in scores]
            left.plot([likelihoods[row][name].value for row in rows], [row + shift for row in rows], "o",
                      color=method_color(name), markersize=6.5, label=method_label(name))  # fmt: skip
            for row in rows:
                bounds = likelihoods[row][name].bounds
                if bounds is not None:
                    left.plot(
                        bounds, (row + shift, row + shift), color=method_color(name), linewidth=3, alpha=0.4
                    )
        for shift, name in zip(_shifts(len(estimators)), estimators, strict=True):
            rows = [row for row, scores in enumerate(wiring) if name in scores]
            right.plot([wiring[row][name] for row in rows], [row + shift for row in rows], "o",
                       color=method_color(name), markersize=6.5, label=method_label(name))  # fmt: skip
        left.set(title="Prediction", xlabel="bits per spike", ylim=(len(names) - 0.5, -0.5))
        right.set(title="Wiring", xlabel="average precision")
        right.set_xlim(right=1.02)
        left.set_yticks(range(len(names)), labels, color=INK)
        for column, axes in enumerate((left, right)):
            axes.grid(axis="x")
            for row in range(1, len(names)):
                axes.axhline(row - 0.5, color=MUTED, linewidth=0.5, alpha=0.5)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            legend = figure.add_subplot(grid[1, column])
            legend.axis("off")
            handles, words = axes.get_legend_handles_labels()
            if handles:
                legend.legend(handles, words, loc="upper center", ncols=2, borderaxespad=0)
    return figure


def _shifts(count: int) -> list[float]:
    """Vertical offsets that keep the dots of a row apart."""
    return [0.0] if count == 1 else [-0.24 + 0.48 * index / (count - 1) for index in range(count)]
