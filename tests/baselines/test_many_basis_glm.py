import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.baselines.many_basis_glm import ManyBasisGLM, fit_many_basis_glm, orthonormal_basis
from neuroformer.batch import Batch
from neuroformer.data import Recording, Span, Vocabulary
from neuroformer.data.collate import collate
from neuroformer.model.filters import log_basis
from neuroformer.settings.many_basis_glm import ManyBasisGLMConfig

Record = Callable[..., Recording]
CONFIG = ManyBasisGLMConfig(window_s=0.06, history_window_s=0.08, functions=3, history_functions=3)


def batch_of(recording: Recording, span: Span, history: int) -> Batch:
    vocabulary = Vocabulary(bin_s=recording.bin_s)
    vocabulary.add(recording.entry(1))
    return collate([recording.chunk(span, history)], vocabulary)


@pytest.mark.parametrize("penalty", ["group_lasso", "ridge"])
def test_a_known_coupling_is_found(record: Record, penalty: str) -> None:
    glm = fit_many_basis_glm(record(), config=dataclasses.replace(CONFIG, penalty=penalty))
    size = glm.coupling_map().square().sum(-1).sqrt()
    assert glm.coupling_map().shape == (4, 4, 6)
    assert divmod(int(size.argmax()), 4) == (0, 1)
    assert float(glm.coupling_map()[0, 1, :2].mean()) > 0.7
    assert (size.diagonal() == 0).all()
    scores = glm.chosen["validation_bits_per_spike"]
    chosen = scores[glm.chosen["basis"]][f"{glm.chosen['strength']:g}"]
    assert chosen == max(max(by_strength.values()) for by_strength in scores.values())
    assert chosen > 0.02


def test_the_strongest_strength_is_the_one_at_which_couplings_vanish(record: Record) -> None:
    recording = record()
    none = fit_many_basis_glm(recording, config=dataclasses.replace(CONFIG, strengths=[1.0001]))
    assert (none.pairs == 0).all()
    some = fit_many_basis_glm(recording, config=dataclasses.replace(CONFIG, strengths=[0.95]))
    assert int((some.coupling_map() != 0).any(-1).sum()) == 1


def test_an_intensity_depends_on_the_past_alone(record: Record) -> None:
    recording = record()
    glm = fit_many_basis_glm(recording, config=CONFIG)
    span = Span(epoch=0, start=100, stop=300)
    before = glm.log_intensity(batch_of(recording, span, glm.context))
    later = record("b", add=np.array([[2.005, 0], [2.005, 1]]))  # in bin 200
    after = glm.log_intensity(batch_of(later, span, glm.context))
    changed = (after - before).abs().amax((0, 2)) > 1e-6
    assert not changed[:101].any()
    assert changed[101]
    assert not changed[101 + glm.context :].any()


def test_the_test_part_is_not_touched(record: Record) -> None:
    recording = record()
    test = recording.part("test")[-1]
    seconds = recording.epochs[test.epoch].time_of(np.arange(test.start, test.stop)) + 0.005
    add = np.stack([seconds, np.zeros(len(seconds))], axis=1)
    one, two = (fit_many_basis_glm(r, config=CONFIG) for r in (recording, record("b", add=add)))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=0)


def test_a_saved_glm_is_read_back(record: Record, tmp_path: Path) -> None:
    recording = record()
    glm = fit_many_basis_glm(recording, config=CONFIG)
    glm.save(tmp_path / "glm.pt")
    read = ManyBasisGLM.load(tmp_path / "glm.pt")
    assert type(read) is ManyBasisGLM
    assert (read.chosen, read.settings) == (glm.chosen, dataclasses.asdict(CONFIG))
    batch = batch_of(recording, recording.part("val")[0], glm.context)
    torch.testing.assert_close(read.log_intensity(batch), glm.log_intensity(batch), rtol=0, atol=0)


def test_kernels_are_orthonormal_and_span_the_raised_cosines() -> None:
    kernels, cosines = orthonormal_basis(20, 6), log_basis(20, 6)
    torch.testing.assert_close(kernels @ kernels.T, torch.eye(6))
    torch.testing.assert_close(cosines @ kernels.T @ kernels, cosines)


def test_settings_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match="strongest first"):
        ManyBasisGLMConfig(strengths=[0.1, 0.5])
    with pytest.raises(ValueError, match="1 or more"):
        ManyBasisGLMConfig(functions=0)
