"""The sections of a run, in the order of the report: one file each, one interface (`Section`)."""

from neuroformer.report.blocks import Section
from neuroformer.report.sections import (
    backbones,
    behavior,
    headline,
    learning,
    likelihood,
    raster,
    settings,
    wiring,
)

SECTIONS: tuple[Section, ...] = (
    headline.SECTION,
    behavior.SECTION,
    backbones.SECTION,
    likelihood.SECTION,
    raster.SECTION,
    wiring.SECTION,
    learning.SECTION,
    settings.SECTION,
)
