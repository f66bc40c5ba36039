"""`neuroformer demo` from the circuits to the report, much shortened."""

from pathlib import Path

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.demo import COMMAND
from neuroformer.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_short_demo_leaves_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)  # the demo reads the configurations that ship
    out = tmp_path / "demo"
    # Fewer units of each circuit, which the demo itself has no key for.
    for name in ("clean", "confounded"):
        settings = (ROOT / "configs/simulate" / f"{name}.yaml").read_text(encoding="utf-8")
        assert "\nunits: 60\n" in settings
        (tmp_path / f"{name}.yaml").write_text(settings.replace("\nunits: 60\n", "\nunits: 12\n"))
    settings = (ROOT / "configs/simulate/many_animals.yaml").read_text(encoding="utf-8")
    assert "\nunits: 40\n" in settings
    (tmp_path / "animals.yaml").write_text(settings.replace("\nunits: 40\n", "\nunits: 10\n"))
    circuits = [f"{name}={tmp_path / name}.yaml" for name in ("clean", "confounded", "animals")]
    circuits += ["n_animals=2", "animals_s=60", "behavior_steps=4", "fractions=[0.5]"]
    assert run_command(COMMAND, [f"out={out}", "duration_s=20", "steps=4", *circuits]) == 0

    metrics = read_json(out / "metrics.json")
    for found in (metrics, metrics["confounded"]):
        assert set(found["bits_per_spike"]) == {"model", "poisson_glm", "homogeneous_poisson", "truth"}
        assert found["bits_per_spike"]["homogeneous_poisson"] == 0
        assert {"coupling", "poisson_glm", "cross_correlation"} <= set(found["connectivity"])
        for scores in found["connectivity"].values():
            assert {"auroc", "average_precision"} <= set(scores)
    assert metrics["seconds"] > 0
    assert set(metrics["behavior"]["variables"]) == {"heading", "speed"}
    for scores in metrics["behavior"]["variables"].values():
        (few,) = scores["labels"]
        assert few["amount"] == 0.5
        assert few["best_baseline"]["method"] in ("null", "ridge", "naive_bayes", "kalman")
        for who in ("pretrained", "scratch", "best_baseline"):
            low, high = few[who]["interval"]
            assert 0 < low <= few[who]["mean"] <= high
    for name in ("clean", "confounded"):
        for file in ("config.yaml", "log.csv", "checkpoints/best.ckpt", f"simulate/{name}.h5"):
            assert (out / name / file).exists()
        for step in (".", "simulate", "evaluate", "connectivity"):
            assert (out / name / step / "metrics.json").exists()
    for file in ("log.csv", "checkpoints/best.ckpt", "simulate/animal_1.h5", "fewshot/table.csv"):
        assert (out / "new_animal" / file).exists()
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "Behaviour of a new animal" in report
    assert metrics["behavior"]["sentence"].partition(": ")[2] in report
    printed = capsys.readouterr().out
    assert f"report: {out / 'report.html'}" in printed
    for scores in metrics["behavior"]["variables"].values():
        assert scores["sentence"] in printed
        assert scores["sentence"] in metrics["behavior"]["sentence"]
    for name in ("clean", "confounded"):  # each circuit's process keeps what its commands say
        log = (out / name / "demo.log").read_text(encoding="utf-8")
        assert f"$ neuroformer evaluate run={out / name}" in log
        assert "bits per spike on" in log

    assert run_command(COMMAND, [f"out={out}", "duration_s=20", "steps=4", *circuits]) == 1
    assert "overwrite=true" in capsys.readouterr().err
