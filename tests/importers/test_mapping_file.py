from pathlib import Path

import pytest

from neuroformer.errors import UserError
from neuroformer.importers import load_mapping


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return path


def test_a_mapping_is_read_into_its_types(tmp_path: Path) -> None:
    mapping = load_mapping(
        write(
            tmp_path,
            "clock: {rate: fs, samples: 100}\n"
            "events: {unit: n, frame: f}\n"
            "behavior: {position: {keys: [x, y], scale: 2, clock: {rate: 60}}}\n",
        )
    )
    assert mapping.clock.rate == "fs"
    assert mapping.clock.samples == 100
    assert mapping.events is not None
    assert mapping.events.unit == "n"
    assert mapping.traces is None
    position = mapping.behavior["position"]
    assert position.keys == ["x", "y"]
    assert position.clock is not None
    assert position.clock.rate == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evnts: {unit: n}", "unknown key 'evnts'; did you mean events?"),
        ("clock: {rte: 20}", "unknown key 'clock.rte'; did you mean rate?"),
        ("behavior: {speed: {kee: v}}", "unknown key 'behavior.speed.kee'; did you mean key?"),
        (
            "traces: {deconvolution: {tau: 1}}",
            "unknown key 'traces.deconvolution.tau'; expected one of decay",
        ),
        ("clock: {scale: fast}", "clock.scale: Value 'fast' of type 'str' could not be converted to Float"),
        ("counts: {axes: [trial, time]}", "counts.axes[1]: Invalid value 'time', expected one of"),
        ("behavior: {speed: {kind: film}}", "behavior.speed.kind: Invalid value 'film'"),
        ("traces: {deconvolution: {decay: -1}}", "deconvolution.decay: found -1.0 s, expected more than 0"),
        (
            "traces: {deconvolution: {threshold: 0}}",
            "deconvolution.threshold: found 0.0, expected more than 0",
        ),
        ("behavior: {speed: {valid: [0, [1]]}}", "behavior.speed.valid: a list stands in the list"),
        ("behavior: {side: {values: [0, {a: 1}]}}", "behavior.side.values: a section stands in the list"),
        ("- a list", "holds no `key: value` lines"),
        ("clock: [1", "not valid YAML at line 1"),
    ],
)
def test_faults_name_the_key_and_what_is_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_mapping(write(tmp_path, text))
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "mapping.yaml"))
    assert "\n" not in str(error.value)


def test_missing_file_folder_and_binary_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such mapping file"):
        load_mapping(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="is a folder"):
        load_mapping(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        load_mapping(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clock: {rate: 1}\nclock: {rate: 2}\n", "duplicate key"),
        (
            "a0: &a0 [1, 1]\n"
            + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)),
            "alias",
        ),
        ("a: &a {b: *a}\n", "for itself"),
        ("a: " + "[" * 2_000, "levels"),
        ("? {a: 1}\n: 1\n", "a key that is a list"),
        ("clock: {rate: " + "9" * 6_000 + "}\n", "cannot be read"),
        ("session: {species: no}\n", "put it in quotes"),
        ("units: {columns: {region: [a]}}\n", "expected text"),
        ("clock: [1]\n", "not of the kind"),
        ("session: {species: '${oc.env:NO_SUCH_NAME}'}\n", "write the value itself"),
    ],
)
def test_traps_of_yaml_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        load_mapping(write(tmp_path, text))
    message = str(error.value)
    assert words in message
    assert "mapping.yaml" in message
    assert "\n" not in message
    assert len(message) < 500
