"""One self-contained `report.html` from what a run left on disk.

A report is made of sections, one file each in `neuroformer.report.sections`, that read a `Run` and return blocks
(tables, figures, notes). A section never writes HTML: `neuroformer.report.page` does, and escapes everything.
"""

from neuroformer.report.page import write_report

__all__ = ["write_report"]
