"""What language models as backbones made of the behaviour, and which units fitted backbones read it from."""

from collections.abc import Iterator

from neuroformer.report.blocks import Block, Paragraph, Section
from neuroformer.report.collect import Run


def blocks(run: Run) -> Iterator[Block]:
    """The sentences of `neuroformer backbones` and `neuroformer salience` in folders of the run; else nothing."""
    for path in sorted(run.path.glob("*/metrics.json")):
        metrics = run.metrics(path.parent.name) or {}
        if metrics.get("command") == "neuroformer backbones":
            yield Paragraph(str(metrics.get("sentence", "")))
        elif metrics.get("command") == "neuroformer salience":
            sentences = metrics.get("sentences")
            for sentence in sentences if isinstance(sentences, list) else []:
                yield Paragraph(str(sentence))


SECTION = Section(slug="backbones", title="Language models as backbones", blocks=blocks)
