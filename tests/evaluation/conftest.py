"""An evaluated run."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from neuroformer.cli.config import build_config
from neuroformer.evaluation.run import evaluate
from neuroformer.settings.evaluation import EvaluateConfig


@pytest.fixture(scope="session")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A copy of the trained run with its evaluation, and the content of metrics.json."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("evaluated") / "run")
    words = [f"run={run}", "glm_settings.strengths=[0.1]", "block_s=1"]
    return run, evaluate(build_config(EvaluateConfig, words=words))
