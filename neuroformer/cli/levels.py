"""``neuroformer levels``: how many amplitude levels, and which."""

from __future__ import annotations

from neuroformer.cli.command import Command
from neuroformer.settings.levels import LevelsConfig


def run(config: LevelsConfig) -> None:
    """Compare, print a table and the winner."""
    from neuroformer.forecasting.levels import compare_levels

    found = compare_levels(config)
    print("nats per event of held-out amplitudes, given the unit (higher is better)")
    print(f"{'code':<18}{'levels':<8}{'validation':<12}test")
    for one in found:
        print(f"{one.code:<18}{one.levels:<8}{one.val:<12.4f}{one.test:.4f}")
    best = found[0]
    print(
        f"\nbest on the validation part: {best.levels} {best.code.replace('_', '-')} level(s), {best.test:.4f} nats "
        "per event of the test part" + (f"; use data.levels={best.levels}" if best.code == "quantile" else "")
    )


COMMAND = Command(
    name="neuroformer levels",
    summary="Compare codes of calcium amplitudes by held-out likelihood.",
    config=LevelsConfig,
    run=run,
    examples=("neuroformer levels 'sessions=[sessions/worm/*.h5]' bin_s=0.6",),
)
