"""The sentences on language models stand in the report of a run that has them in a folder."""

import json
from pathlib import Path

from neuroformer.report.collect import Run
from neuroformer.report.sections.backbones import blocks


def test_sentences_of_folders_in_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, "run")
    assert list(blocks(run)) == []
    for name, content in {
        "llm": {"command": "neuroformer backbones", "sentence": "Text weights did not help."},
        "units": {"command": "neuroformer salience", "sentences": ["Deleting hurts.", "It does not."]},
        "other": {"command": "neuroformer evaluate", "sentence": "no"},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(content))
    texts = [block.text for block in blocks(run)]  # type: ignore[union-attr]
    assert texts == ["Text weights did not help.", "Deleting hurts.", "It does not."]
