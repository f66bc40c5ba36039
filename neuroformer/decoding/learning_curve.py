"""Results of a few-shot experiment over sessions: means with intervals, paired differences, one sentence, a figure.

Intervals come from drawing sessions with replacement; with one session, from blocks of its test time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.plotting import new_figure, style

LEADS = ("pretrained", "readout")
"""Methods that may be compared with the others: the first that is there."""
ERRORS = ("mean_error", "median_error", "log_loss")
"""Scores of which less is better."""
SCALED = ("mean_error", "median_error")
"""Scores in the variable's unit."""
SHARE = "of the labels"
"""How amounts are called that are fractions."""
_DRAWS = 2000
_CALLED = {"pretrained": "the pretrained model", "readout": "the readout that knows other animals"}
_KNOWING = ("pretrained", "pretrained_causal", "pretrained_labels_only", "readout", "readout_causal")
"""Methods that know other animals, and are no rivals of each other."""
_LABELS = {
    "pretrained": "pretrained, then fitted",
    "pretrained_causal": "pretrained, past events only",
    "pretrained_labels_only": "pretrained, labels only",
    "scratch": "from scratch",
    "readout": "linear readout, other animals",
    "readout_causal": "linear readout, past only",
    "readout_scratch": "linear readout, from scratch",
    "naive_bayes": "naive Bayes",
    "naive_bayes_motion": "naive Bayes + motion",
    "logistic": "softmax / logistic",
    "ridge": "ridge",
    "ridge_centered": "ridge, centred",
    "kalman": "Kalman filter",
    "gru": "GRU",
    "null": "mean / majority",
}
_COLOURS = {
    "pretrained": "#b5362b",
    "pretrained_causal": "#e07b6f",
    "pretrained_labels_only": "#e8a33d",
    "scratch": "#7b5ea7",
    "readout": "#c2185b",
    "readout_causal": "#e58bb0",
    "readout_scratch": "#a58bc9",
    "naive_bayes": "#1f6f8b",
    "naive_bayes_motion": "#4fa3a5",
    "logistic": "#5b8c3a",
    "ridge": "#6b6b6b",
    "ridge_centered": "#3d3d3d",
    "kalman": "#8c6d46",
    "gru": "#3b4a9b",
    "null": "#b5b5b5",
}


def summarise(
    results: Sequence[dict[str, Any]], *, scale: float = 1.0, seed: int = 0
) -> list[dict[str, Any]]:
    """One row per variable, score, method and amount: mean over sessions, its interval, and the lead's advantage.

    Args:
        results: of all cells.
        scale: errors are divided by it.
        seed: of the bootstrap.
    """
    rows = []
    for target in dict.fromkeys(name for r in results for name in r["scores"]):
        for metric in metrics_of(results, target):
            for amount in sorted({r["amount"] for r in results}):
                table = {
                    method: _by_session(results, target, metric, amount, method)
                    for method in dict.fromkeys(r["method"] for r in results)
                }
                table = {method: values for method, values in table.items() if values}
                factor = 1 / scale if metric in SCALED else 1.0
                lead = lead_of(table)
                for method, values in table.items():
                    rows.append(
                        {
                            "target": target,
                            "metric": metric,
                            "amount": amount,
                            "method": method,
                            "sessions": len(values),
                            "label_s": float(
                                np.mean([r["label_s"] for r in results if r["amount"] == amount])
                            ),
                            **_mean(values, results, target, metric, amount, method, factor, seed),
                            "difference": _difference(
                                table.get(lead, {}),
                                values,
                                factor,
                                seed,
                                _draws(results, target, metric, amount, method, lead),
                            ),
                        }
                    )
    return rows


def metrics_of(results: Sequence[dict[str, Any]], target: str) -> list[str]:
    """Scores that are shown of a variable."""
    having = next(r["scores"][target] for r in results if target in r["scores"])
    wanted = (
        "mean_error",
        "median_error",
        "r2",
        "correlation",
        "coverage",
        "accuracy",
        "balanced_accuracy",
        "auc",
        "log_loss",
    )
    return [name for name in wanted if name in having]


def sentences(rows: Sequence[Mapping[str, Any]], *, units: Mapping[str, str], amounts: str) -> dict[str, str]:
    """Who wins, and from how many labels on, by the first score of each variable: a sentence for each.

    Args:
        rows: of `summarise`.
        units: of the errors, by variable.
        amounts: what the amounts of labels are, `SHARE` or "minutes".
    """
    found = {}
    for target in dict.fromkeys(r["target"] for r in rows):
        metric = next(r["metric"] for r in rows if r["target"] == target)
        unit = f" {units.get(target, '')}".rstrip() if metric in SCALED else ""
        steps = []
        for amount in sorted({r["amount"] for r in rows if (r["target"], r["metric"]) == (target, metric)}):
            both = lead_and_rival(rows, target, amount)
            if both is not None:
                steps.append((amount, *both))
        words = f"{target}, {metric.replace('_', ' ')}: "
        if not steps:
            found[target] = f"{words}nothing stands beside the pretrained model."
            continue
        parts = []
        for verdict, run in groupby(steps, key=lambda step: _verdict(step[2], metric)):
            same = list(run)
            amount, lead, best = same[0]
            until = _until(amount, same[-1][0], [step[0] for step in steps], amounts)
            there = "" if len(same) == 1 else f" at {amount_label(amount, amounts)}"
            parts.append(
                f"{_VERDICTS[verdict]} the best other method {until} ({lead['mean']:.3g} against "
                f"{best['mean']:.3g}{unit} of {method_name(best['method'])}{there})"
            )
        found[target] = f"{words}{_CALLED[steps[0][1]['method']]} {', '.join(parts)}."
    return found


_VERDICTS = {1: "beats", 0: "is not told apart from", -1: "loses to"}


def _verdict(best: Mapping[str, Any], metric: str) -> int:
    """Whether the lead is better than this method, with a 95 % interval of the paired difference beyond 0."""
    interval = best["difference"]["interval"]
    if interval is None or interval[0] <= 0 <= interval[1]:
        return 0
    return 1 if (interval[1] < 0) == (metric in ERRORS) else -1


def _until(first: float, last: float, tried: Sequence[float], amounts: str) -> str:
    """For which amounts of labels, in words."""
    if first == last:
        return f"at {amount_label(first, amounts)}"
    if (first, last) == (tried[0], tried[-1]):
        return f"at every amount, {amount_label(first, amounts)} to {amount_label(last, amounts)},"
    if last == tried[-1]:
        return f"from {amount_label(first, amounts)} on"
    return f"from {amount_label(first, amounts)} to {amount_label(last, amounts)}"


def lead_and_rival(
    rows: Sequence[Mapping[str, Any]], target: str, amount: float
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Rows of the lead and of the best of the others by the first score of a variable; None where one is missing."""
    metric = next(r["metric"] for r in rows if r["target"] == target)
    here = [r for r in rows if (r["target"], r["metric"], r["amount"]) == (target, metric, amount)]
    name = lead_of([r["method"] for r in here])
    lead = next((r for r in here if r["method"] == name), None)
    rivals = [r for r in here if r["method"] not in _KNOWING]
    if lead is None or not rivals:
        return None
    return lead, (min if metric in ERRORS else max)(rivals, key=lambda r: r["mean"])


def lead_of(methods: Iterable[str]) -> str:
    """The first of `LEADS` that is among the methods; the first of all where none is."""
    there = set(methods)
    return next((name for name in LEADS if name in there), LEADS[0])


def amount_label(amount: float, amounts: str) -> str:
    """An amount of labels as a reader should see it.

    >>> amount_label(0.02, SHARE), amount_label(0.5, "minutes")
    ('2 % of the labels', '0.5 minutes')
    """
    return f"{100 * amount:g} % {amounts}" if amounts == SHARE else f"{amount:g} {amounts}"


def method_name(method: str) -> str:
    """A method as a reader should see it."""
    return _LABELS.get(method, method)


def panels_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Variables and the scores of each that are drawn."""
    shown = ("mean_error", "median_error", "accuracy", "auc")
    return [key for key in dict.fromkeys((r["target"], r["metric"]) for r in rows) if key[1] in shown]


def draw(rows: Sequence[Mapping[str, Any]], *, units: Mapping[str, str], amounts: str) -> Figure:
    """Score against labels, a panel for each of the first scores of every variable.

    Args:
        rows: of `summarise`.
        units: of the errors, by variable; "" has none.
        amounts: what the amounts of labels are, `SHARE` or "minutes".
    """
    panels = panels_of(rows)[:4]
    # Four in one line would be too small to read on a page.
    across = min(len(panels), 2)
    figure = new_figure(width=4.3 * across, height=0.6 + 3.2 * -(-len(panels) // max(across, 1)))
    with style():
        for k, (target, metric) in enumerate(panels):
            axes = figure.add_subplot(-(-len(panels) // across), across, k + 1)
            draw_panel(axes, rows, target, metric, unit=units.get(target, ""), amounts=amounts)
        if panels:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def draw_panel(
    axes: Axes, rows: Sequence[Mapping[str, Any]], target: str, metric: str, *, unit: str, amounts: str
) -> None:
    """One score of one variable against labels: a line with intervals per method."""
    rows = [r for r in rows if (r["target"], r["metric"]) == (target, metric)]
    methods = list(dict.fromkeys(r["method"] for r in rows))
    ticks = sorted({r["amount"] for r in rows})
    zero = 0.4 * min((t for t in ticks if t), default=1.0)  # where no labels stand on an axis of logarithms
    for i, method in enumerate(methods):
        here = sorted((r for r in rows if r["method"] == method), key=lambda r: r["amount"])
        x = np.array([r["amount"] or zero for r in here]) * 1.03 ** (i - len(methods) / 2)  # side by side
        y = np.array([r["mean"] for r in here])
        bars = np.array([r["interval"] or (r["mean"], r["mean"]) for r in here])
        lead = method == lead_of(methods)
        axes.errorbar(x, y, yerr=[np.maximum(y - bars[:, 0], 0), np.maximum(bars[:, 1] - y, 0)],
                      color=_COLOURS.get(method), lw=2.4 if lead else 1.3, marker="o", ms=5 if lead else 3.5,
                      elinewidth=0.8, zorder=3 if lead else 2, label=method_name(method))  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks([t or zero for t in ticks], [f"{100 * t if amounts == SHARE else t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"labels ({'%' if amounts == SHARE else amounts})")
    axes.set_ylabel(f"{metric.replace('_', ' ')}{f' ({unit})' if unit and metric in SCALED else ''}")
    axes.set_title(target)
    axes.grid(axis="y")
    if metric in ERRORS:
        axes.set_ylim(bottom=0)


def _by_session(
    results: Sequence[dict[str, Any]], target: str, metric: str, amount: float, method: str
) -> dict[str, float]:
    """Mean over seeds of each session."""
    found: dict[str, list[float]] = {}
    for r in results:
        if r["amount"] == amount and r["method"] == method and metric in r["scores"].get(target, {}):
            value = r["scores"][target][metric]["value"]
            if value is not None and np.isfinite(value):
                found.setdefault(r["session"], []).append(value)
    return {session: float(np.mean(values)) for session, values in found.items()}


def _mean(
    values: dict[str, float], results: Sequence[dict[str, Any]], target: str, metric: str, amount: float,
    method: str, factor: float, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Over sessions, their interval by drawing sessions; of one session by drawing blocks of its test time."""
    numbers = np.array(list(values.values())) * factor
    if len(numbers) > 1:
        return {"mean": float(numbers.mean()), "interval": _bootstrap(numbers, seed)}
    own = [
        r["scores"][target][metric]
        for r in results
        if r["amount"] == amount and r["method"] == method and metric in r["scores"].get(target, {})
    ]
    interval = own[0]["interval"] if len(own) == 1 else None
    if len(own) > 1 and all(one.get("draws") for one in own):  # the mean over seeds of each draw of blocks
        together = np.mean([np.array(one["draws"], float) for one in own], axis=0)
        together = together[np.isfinite(together)]
        interval = [float(x) for x in np.quantile(together, [0.025, 0.975])] if len(together) else None
    return {
        "mean": float(numbers.mean()),
        "interval": None if interval is None else [factor * x for x in interval],
    }


def _difference(
    lead: dict[str, float], other: dict[str, float], factor: float, seed: int, draws: np.ndarray | None
) -> dict[str, Any]:
    """The lead minus the other, paired by session; with one session, by blocks of its test time."""
    shared = [s for s in lead if s in other]
    if not shared:
        return {"mean": None, "interval": None}
    numbers = np.array([lead[s] - other[s] for s in shared]) * factor
    interval = _bootstrap(numbers, seed) if len(numbers) > 1 else None
    if len(numbers) == 1 and draws is not None:
        interval = [float(x) for x in np.quantile(draws * factor, [0.025, 0.975])]
    return {"mean": float(numbers.mean()), "interval": interval}


def _draws(
    results: Sequence[dict[str, Any]], target: str, metric: str, amount: float, method: str, lead: str
) -> np.ndarray | None:
    """Draws over blocks of the lead minus the other, averaged over seeds; None where they were not kept."""
    found: dict[str, dict[tuple[str, int], np.ndarray]] = {lead: {}, method: {}}
    for r in results:
        if r["amount"] == amount and r["method"] in found and target in r["scores"]:
            kept = r["scores"][target].get(metric, {}).get("draws")
            if kept:
                found[r["method"]][r["session"], r["seed"]] = np.array(kept, float)
    shared = [key for key in found[lead] if key in found[method]]
    if not shared:
        return None
    together = np.mean([found[lead][key] - found[method][key] for key in shared], axis=0)
    kept_draws: np.ndarray = together[np.isfinite(together)]
    return kept_draws if len(kept_draws) else None


def _bootstrap(numbers: np.ndarray, seed: int) -> list[float]:
    drawn = np.random.default_rng(seed).integers(0, len(numbers), (_DRAWS, len(numbers)))
    return [float(x) for x in np.quantile(numbers[drawn].mean(1), [0.025, 0.975])]
