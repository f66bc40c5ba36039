"""One look for every figure: sizes, colours that colour-blind readers can tell apart, and safe saving.

Figures are made without `matplotlib.pyplot`, so that drawing leaves no global state behind and needs no display:

    figure = new_figure(width=6, height=3)
    with style():
        axes = figure.subplots(1, 2)
        ...
    save_figure(figure, folder / "matrices.png")

The same method has the same name and colour in every figure (`method_label`, `method_color`).
"""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from neuroformer.files import atomic_path

INK = "#1d2a33"
MUTED = "#66747f"
GRID = "#e4e9ec"
EXCITATORY = "#b2182b"
INHIBITORY = "#2166ac"

# Okabe & Ito (2008), "Color Universal Design": hues that stay apart under the common colour-vision deficiencies.
PALETTE = ("#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#0072B2", "#D55E00", "#B3A400", "#8A949E")

# Positive (excitatory) red, negative (inhibitory) blue, no influence white; hues of ColorBrewer's RdBu.
DIVERGING = LinearSegmentedColormap.from_list(
    "couplings", ["#08306b", INHIBITORY, "#6aaed6", "#ffffff", "#f08a6c", EXCITATORY, "#67001f"]
)
# White (silent) to dark green (active).
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "activity", ["#ffffff", "#cfeae1", "#86cdb8", "#2fa585", "#00745a", "#003b30"]
)

# A method that many figures show gets its name and colour here.
_METHODS = {
    "truth": ("Truth", INK),
    "model": ("Neuroformer", "#009E73"),
    "adjusted_coupling": ("Adjusted coupling", "#00513B"),
    "coupling": ("Coupling attention", "#009E73"),
    "stimulation": ("In-silico stimulation", "#44206B"),
    "silencing": ("In-silico silencing", "#00C4D6"),
    "attention_gradient": ("Attention × gradient", "#8C6BE8"),
    "attention_rollout": ("Attention rollout", "#56B4E9"),
    "self_attention": ("Self-attention", "#0072B2"),
    "poisson_glm": ("Poisson GLM", "#E69F00"),
    "adjusted_glm": ("Adjusted GLM", "#3B3BFF"),
    "wald_glm": ("Poisson GLM, Wald", "#A88A00"),
    "group_lasso_glm": ("Group-lasso GLM", "#D55E00"),
    "ridge_glm": ("Ridge GLM", "#7F4F24"),
    "cross_correlation": ("Lagged cross-correlation", "#CC79A7"),
    "jittered_ccg": ("Jittered cross-correlogram", "#E6007E"),
    "directed_sttc": ("Directed STTC", "#B3A400"),
    "partial_correlation": ("Partial correlation", "#7CB518"),
    "transfer_entropy": ("Transfer entropy", "#8B1E5B"),
    "granger": ("Granger causality", "#F4978E"),
    "homogeneous_poisson": ("Homogeneous Poisson", "#8A949E"),
    "combined": ("Inversion + readout", "#00513B"),
    "inversion": ("Inversion", "#009E73"),
    "inversion_causal": ("Inversion, causal", "#7CB518"),
    "readout": ("Readout", "#0072B2"),
    "null": ("No activity", "#8A949E"),
    "ridge": ("Ridge", "#E69F00"),
    "kalman": ("Kalman filter", "#B15928"),
    "naive_bayes": ("Naive Bayes", "#D55E00"),
    "naive_bayes_motion": ("Naive Bayes + motion", "#CC79A7"),
    "logistic": ("Softmax regression", "#8C6BE8"),
    "gru": ("GRU", "#8B1E5B"),
}

# Colours of methods without one of their own; none of those above.
_SPARE = ("#5F7F3C", "#B15928", "#FF5C5C", "#B8A1D9", "#00695C")

# More hues than eyes keep apart: what a method reads tells it from its like as well. All others are solid.
_DASHES: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("poisson_glm", "wald_glm", "group_lasso_glm", "ridge_glm"), (5, 2)),
    **dict.fromkeys(
        ("cross_correlation", "jittered_ccg", "directed_sttc", "partial_correlation"), (1.5, 1.2)
    ),
    **dict.fromkeys(("transfer_entropy", "granger"), (4, 1.2, 1, 1.2)),
}

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Text stays text: small files, sharp at any size, searchable.
    "svg.fonttype": "none",
    "svg.hashsalt": "neuroformer",
}


@contextmanager
def style() -> Iterator[None]:
    """The house style, for the block only; whoever calls keeps their own matplotlib settings."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(*, width: float = 7.0, height: float = 4.0) -> Figure:
    """An empty figure of `width` × `height` inches that arranges its axes by itself.

    Add axes inside `with style():`.
    """
    with style():
        return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path, *, dpi: int = 200) -> Path:
    """Write a figure, atomically; the suffix of `path` decides the format.

    Args:
        figure: what to write.
        path: the file, for example `figures/matrices.png`; its folder is made on demand.
        dpi: dots per inch of a bitmap, and of what is rasterised inside a vector format.

    Raises:
        UserError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, style():
        figure.savefig(temporary, format=path.suffix.lstrip("."), dpi=dpi)
    return path


def figure_svg(figure: Figure, *, name: str, dpi: int = 200) -> str:
    """A figure as an `<svg>` element to stand inside an HTML page.

    Args:
        figure: what to draw.
        name: prefix of every id in the element, so that several figures can share a page.
        dpi: dots per inch of what is rasterised (matrices, heat maps).
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", dpi=dpi, metadata={"Date": None})
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    # Ids that nothing refers to are only in the way: equal colour bars share one.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    return re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", svg)


def method_label(name: str) -> str:
    """The name of a method, model or estimator as a reader should see it.

    >>> method_label("poisson_glm"), method_label("transfer_entropy"), method_label("dSTTC")
    ('Poisson GLM', 'Transfer entropy', 'dSTTC')
    """
    if name in _METHODS:
        return _METHODS[name][0]
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] if words.islower() else words


def method_color(name: str) -> str:
    """The colour of a method: fixed for known ones, and for others decided by the name alone."""
    if name in _METHODS:
        return _METHODS[name][1]
    return _SPARE[zlib.crc32(name.encode()) % len(_SPARE)]


def method_line(name: str) -> dict[str, Any]:
    """How a method's curve is drawn: its colour, and dashes for GLMs, pairwise statistics and predictive measures."""
    return {"color": method_color(name), "linestyle": (0, _DASHES[name]) if name in _DASHES else "solid"}


def off_diagonal_limit(matrix: np.ndarray, *, quantile: float = 0.995) -> float:
    """Half-width of a symmetric colour scale for a coupling matrix.

    Args:
        matrix: (S, S) couplings `[source, target]`.
        quantile: of the absolute off-diagonal values, so that a few extreme pairs do not bleach the rest.

    Returns:
        The limit; 1 for a matrix without any finite value other than 0.
    """
    values = np.abs(matrix[~np.eye(len(matrix), dtype=bool)])
    values = values[np.isfinite(values)]
    if not values.any():
        return 1.0
    limit = float(np.quantile(values, quantile))
    # In a sparse matrix most values, and so the quantile, can be 0.
    return limit if limit > 0 else float(values.max())


def draw_couplings(axes: Axes, matrix: np.ndarray, *, limit: float | None = None) -> AxesImage:
    """Draw a coupling matrix: rows are sources, columns are targets, red excites, blue inhibits.

    The diagonal (a unit's influence on itself) and values that are not finite are grey.

    Args:
        axes: where to draw.
        matrix: (S, S) couplings `[source, target]`.
        limit: half-width of the colour scale; by default `off_diagonal_limit(matrix)`.
    """
    shown = np.ma.masked_invalid(np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix))
    limit = off_diagonal_limit(matrix) if limit is None else limit
    image = axes.imshow(
        shown, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="equal", interpolation="nearest"
    )
    axes.set_facecolor("#d9dee2")
    axes.set(xlabel="target unit", ylabel="source unit")
    for spine in axes.spines.values():
        spine.set_visible(True)
    return image
