"""``neuroformer calibrate``: is generated activity like the recording?"""

from __future__ import annotations

import math
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.settings.calibrate import CalibrateConfig

_UNITS = {
    "rate": "rate",
    "interval": "inter-event intervals",
    "fano": "Fano factor",
    "autocorrelation": "autocorrelogram",
}
_POPULATION = {
    "events_per_bin": "events per bin",
    "active_units": "active units",
    "variation": "coefficient of variation",
    "synchrony": "synchrony",
}


def run(config: CalibrateConfig) -> None:
    """Calibrate with a progress bar (on a terminal), and print a table for each session."""
    from tqdm import tqdm

    from neuroformer.calibration.run import calibrate

    # disable=None: no bar where standard error is no terminal.
    with tqdm(unit="s", disable=None, leave=False) as bar:
        shown = ""

        def progress(session_id: str, seconds: float, total: float) -> None:
            nonlocal shown
            if session_id != shown and not bar.disable:
                shown = session_id
                bar.reset(total=round(total, 3))
                bar.set_description(session_id)
            bar.update(seconds)

        metrics = calibrate(config, command=COMMAND.name, progress=progress)
    for session_id, found in metrics["sessions"].items():
        print(render(session_id, found))
    out = config.out or config.run + "/calibration"
    print(f"a page a session: {out}/figures    results: {out}")


def render(session_id: str, found: dict[str, Any]) -> str:
    """The table of one session."""
    lines = [
        f"{session_id}: {found['seconds']:,.0f} s in {found['n_stretches']} stretches and {found['n_blocks']} blocks, "
        f"{found['n_events']:,} events; {found['copies']} copies of {found['n_events_generated']:,.0f} events",
        f"  {'over units or pairs':<26} {'r':>7} {'half':>7} {'ceiling':>8} {'ratio':>7}   95 %",
    ]
    pairs = f"{found['pairs']['kind']} correlations of pairs"
    for label, one in (("rates", found["rates"]), (pairs, found["pairs"])):
        low, high = one["ratio_interval"]
        interval = f"[{low:.3f}, {high:.3f}]" if math.isfinite(low) else "(the ceiling is not above 0)"
        lines.append(
            f"  {label:<26} {_n(one['r'], 7)} {_n(one['r_half'], 7)} {_n(one['ceiling'], 8)} "
            f"{_n(one['ratio'], 7)}   {interval}"
        )
    lines.append(f"  {'share of units':<26} {'in band':>7} {'exact':>7} {'alike':>8} {'expect':>7}   tested")
    for name, label in _UNITS.items():
        one = found["units"][name]
        lines.append(
            f"  {label:<26} {_n(one['share_within'], 7)} {_n(one['share_within_exact'], 7)} "
            f"{_n(one['share_alike'], 8)} {_n(one['share_alike_expected'], 7)}   {one['tested']}"
        )
    one = found["time_rescaling"]
    lines.append(
        f"  {'time rescaling, passed':<26} {_n(one['share_passed'], 7)} {_n(0.95, 7)} {'':>16}   {one['tested']}"
    )
    lines.append(
        f"    of the model on recorded events: {one['events_over_expected']:.2f} of the expected events, "
        f"{one['repeats']:,} bins with two events of a unit or more ({one['repeats_expected']:,.0f} expected), "
        f"dispersion of bins {one['dispersion']:.2f} (1)"
    )
    lines.append(f"  {'population':<26} {'dist.':>7} {'floor':>7} {'bound':>8} {'in band':>7}")
    for name, label in _POPULATION.items():
        one = found["population"][name]
        values = (
            f"   {one['generated']:.3g}, recorded {one['real']:.3g}" if one.get("real") is not None else ""
        )
        lines.append(
            f"  {label:<26} {_n(one['distance'], 7)} {_n(one['floor'], 7)} {_n(one['bound'], 8)} "
            f"{'yes' if one['within'] else 'no':>7}{values}"
        )
    for one in found["responses"]:
        lines.append(
            f"  response to {one['stimulus']:<14} {'':>7} {_n(one['r_half'], 7)} {_n(one['ceiling'], 8)} "
            f"{_n(one['ratio'], 7)}   {one['trials']} trials"
        )
    edges, rate = found["horizon"]["edges_s"], found["horizon"]["rate"]
    ratios = ", ".join(
        f"{g / r:.2f} to {stop:.3g} s" if r else f"- to {stop:.3g} s"
        for g, r, stop in zip(rate["generated"], rate["real"], edges[1:], strict=True)
    )
    lines.append(f"  rate over that recorded, by time since the prefix: {ratios}")
    return "\n".join(lines)


def _n(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None or not math.isfinite(value) else f"{value:>{width}.3f}"


COMMAND = Command(
    name="neuroformer calibrate",
    summary="Compare generated with recorded activity, each statistic beside its floor.",
    config=CalibrateConfig,
    run=run,
    positional="run",
    examples=(
        "neuroformer calibrate run=out/ca1",
        "neuroformer calibrate run=out/ca1 part=val copies=40 stretch_s=60 out=out/calibration",
        "neuroformer calibrate run=out/v1 stimulus=orientation",
    ),
)
