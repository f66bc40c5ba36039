"""`neuroformer report`: one self-contained HTML file from a run folder."""

from dataclasses import dataclass
from pathlib import Path

from neuroformer.cli.command import Command


@dataclass
class ReportConfig:
    """Settings of `neuroformer report`."""

    run: str = "???"
    """Run folder (the out= of pretrain.py), or a folder of several runs, which are then compared."""
    out: str | None = None
    """File to write, or a folder for report.html; by default report.html in the run folder. A report that is there is
    replaced, any other file is not."""
    title: str = ""
    """Heading of the report; by default the name of the run folder."""


def report(config: ReportConfig) -> None:
    """Write the report and print where it is."""
    # Imported here, so that `--help` need not wait for matplotlib.
    from neuroformer.report import write_report

    out = None if config.out is None else Path(config.out)
    if out is not None and (out.is_dir() or not out.suffix):
        out = out / "report.html"
    print(f"report: {write_report(Path(config.run), out, title=config.title)}")


COMMAND = Command(
    name="neuroformer report",
    summary="Write one self-contained report.html from a run folder.",
    config=ReportConfig,
    run=report,
    positional="run",
    examples=(
        "neuroformer report out/demo",
        'neuroformer report run=out/demo out=for_a_colleague.html title="Two circuits"',
    ),
)
