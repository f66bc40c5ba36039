"""R² of every method and target with its interval; language models in colour, their controls in paler tones."""

from __future__ import annotations

from matplotlib.figure import Figure

from neuroformer.frames.scores import Scores
from neuroformer.plotting import MUTED, PALETTE, new_figure, style


def draw(scores: Scores) -> Figure:
    """A panel per target: methods down, best mean on top, points of sessions beside the mean and its interval."""
    n = len(scores.methods)
    figure = new_figure(width=3.4 * len(scores.targets) + 1.6, height=0.27 * n + 1.3)
    models = scores.language_models
    with style():
        panels = figure.subplots(1, len(scores.targets), squeeze=False)[0]
        for axes, target in zip(panels, scores.targets, strict=True):
            order = sorted(scores.methods, key=lambda m: scores.scores[target, "r2", m].value)
            low = 0.0
            for y, method in enumerate(order):
                score = scores.scores[target, "r2", method]
                owner = scores.about[method]["language_model"]
                colour = PALETTE[models.index(owner) % len(PALETTE)] if owner else MUTED
                alpha = 1.0 if method in models or not owner else 0.55
                sessions = scores.by_session[target, "r2", method]
                axes.plot(sessions, [y] * len(sessions), ".", color=colour, alpha=0.3, markersize=4)
                ends = score.interval or (score.value, score.value)
                axes.plot(ends, [y, y], color=colour, alpha=alpha)
                axes.plot(
                    score.value, y, "o" if method in models else "s", color=colour, alpha=alpha, markersize=5
                )
                low = min(low, score.value, max(ends[0], -1.0))
            axes.axvline(0, color=MUTED, linewidth=0.8)
            axes.set_xlim(left=max(low, -1.0) - 0.08)
            axes.set_yticks(range(n), [m.replace("_", " ") for m in order])
            axes.set_xlabel("R² on the test part")
            axes.set_title(target)
    return figure
