"""``neuroformer generate``: activity from a trained model, as session files."""

from __future__ import annotations

from neuroformer.cli.command import Command
from neuroformer.settings.generate import GenerateConfig


def run(config: GenerateConfig) -> None:
    """Generate with a progress bar (on a terminal), and say how fast."""
    from tqdm import tqdm

    from neuroformer.generation.run import generate, prepare

    prepared = prepare(config)
    bin_s = prepared.recording.bin_s
    n_bins = config.streams * sum(map(len, prepared.spans))
    # disable=None: no bar where standard error is no terminal.
    with tqdm(total=round(n_bins * bin_s, 3), unit="s", disable=None, leave=False) as bar:
        events = 0

        def progress(bins: int, found: int) -> None:
            nonlocal events
            events += found
            elapsed = bar.format_dict["elapsed"]
            bar.set_postfix_str(f"{events / elapsed:,.0f} events/s" if elapsed else "", refresh=False)
            bar.update(bins * bin_s)

        found = generate(config, command=COMMAND.name, progress=progress, prepared=prepared)
    print(
        f"{found['n_events']:,} events of {prepared.recording.session.n_units} units in "
        f"{found['generated_seconds']:,.1f} s, {config.streams} stream(s): {found['rate_hz']:.3g} events/s per unit "
        f"(real activity there: {found['real_rate_hz']:.3g})"
    )
    if found["ceiling_hz"] is not None:
        print(
            f"ceiling of a unit's rate {found['ceiling_hz']:.4g} Hz: the model expected more in "
            f"{found['n_lowered']:,} of {found['n_cells']:,} bins × units"
        )
    print(
        f"generated in {found['seconds']:.1f} s: {found['events_per_second']:,.0f} events/s, "
        f"{found['times_real_time']:.3g} × real time"
    )
    files = found["files"]
    print(f"results: {files[0]}" + (f" … {files[-1]}" if len(files) > 1 else ""))


COMMAND = Command(
    name="neuroformer generate",
    summary="Generate activity from a trained model, as session files.",
    config=GenerateConfig,
    run=run,
    positional="run",
    examples=(
        "neuroformer generate run=out/ca1 streams=10",
        "neuroformer generate run=out/ca1 duration_s=60 prefix_s=0 out=out/free.h5",
        "neuroformer generate run=out/ca1 'silence=[12]' 'stimulate=[40@20Hz]' seed=1",
    ),
)
