import numpy as np
import pytest

from neuroformer.connectivity import ConnectivityMap, SessionConnectivity, from_lag_profile
from neuroformer.connectivity.lag_figure import draw_lag_profiles
from neuroformer.plotting import save_figure


def session(n: int = 4, *, truth: bool = True, p_values: bool = True) -> SessionConnectivity:
    rng = np.random.default_rng(0)
    profile = 0.01 * rng.standard_normal((n, n, 6))
    profile[0, 1, 2], profile[1, 0, 4] = 1.0, -2.0
    lagged = from_lag_profile("coupling", profile, 0.005)
    p = np.where(np.abs(lagged.matrix) > 0.5, 1e-9, 1.0)
    np.fill_diagonal(p, np.nan)
    called = ConnectivityMap(
        name="coupling",
        matrix=lagged.matrix,
        lag_profile=lagged.lag_profile,
        lags_s=lagged.lags_s,
        p_values=p if p_values else None,
    )
    weights = np.zeros((n, n))
    weights[0, 1] = 1
    return SessionConnectivity(
        session_id="circuit",
        unit_ids=np.arange(n),
        maps=(ConnectivityMap(name="self_attention", matrix=weights), called),
        weights=weights if truth else None,
        delays=0.012 * weights if truth else None,
    )


def test_the_strongest_pairs_are_drawn_with_their_true_delay():
    figure = draw_lag_profiles(session(), pairs=3)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels[:2]] == ["1 → 0", "0 → 1"]
    first, second = panels[:2]
    assert [text.get_text() for axes in (first, second) for text in axes.texts] == ["no edge", "excites"]
    marks = [line for line in second.lines if len(set(line.get_xdata())) == 1]
    assert marks[0].get_xdata()[0] == pytest.approx(12)
    heights = [bar.get_height() for bar in first.patches]
    assert np.argmin(heights) == 4
    assert len(panels) == 3
    assert "not called" in panels[2].texts[0].get_text()


@pytest.mark.parametrize(("n", "truth", "p_values"), [(2, True, True), (2, False, False), (5, False, True)])
def test_few_units_no_truth_no_p_values(tmp_path, n, truth, p_values):
    figure = draw_lag_profiles(session(n, truth=truth, p_values=p_values))
    assert save_figure(figure, tmp_path / "lags.png", dpi=50).stat().st_size > 1000


def test_without_lags_there_is_nothing_to_draw():
    one = session()
    assert draw_lag_profiles(one, name="self_attention") is None
    flat = from_lag_profile("coupling", np.zeros((3, 3, 1)), 0.005)
    nothing = SessionConnectivity(session_id="flat", unit_ids=np.arange(3), maps=(flat,))
    assert draw_lag_profiles(nothing) is None
