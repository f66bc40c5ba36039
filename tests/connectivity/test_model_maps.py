import numpy as np
import pytest
import torch

from neuroformer.baselines.glm import fit_glm
from neuroformer.connectivity import from_lag_profile
from neuroformer.connectivity.model_maps import coupling, fitted_coupling, fitted_glm
from neuroformer.settings.glm import GLMConfig


def profile_of(fitted):
    return torch.einsum("hst,hl->stl", torch.as_tensor(fitted.weights), fitted.kernels.double()).numpy()


@pytest.mark.parametrize("session", [0, 1])
def test_the_map_is_the_models_own(recorded, make_random_model, session):
    model = make_random_model(log_scale=-1.0)
    mean = model.coupling_map(session)[0].numpy()
    found = coupling(model, session)
    expected = from_lag_profile("coupling", mean, 0.01)
    assert found.name == "coupling"
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    np.testing.assert_array_equal(found.lag_profile, expected.lag_profile)
    assert found.p_values.shape == found.matrix.shape


@pytest.mark.parametrize("session", [0, 1])
def test_what_is_read_of_a_model_is_its_term_of_the_intensity(recorded, make_random_model, session):
    model, recording = make_random_model(state=4, log_scale=-1.0), recorded.recordings[session]
    fitted = fitted_coupling(model, session, recording)
    np.testing.assert_allclose(profile_of(fitted), model.coupling_map(session)[0].numpy(), atol=1e-9)
    assert (np.diagonal(fitted.weights, axis1=1, axis2=2) == 0).all()
    _, batch = next(recorded.in_order("val", [recording]))
    with torch.no_grad():
        torch.testing.assert_close(fitted.log_intensity(batch), model(batch)[0])
    assert (fitted.event_weight(batch) == 1).all()
    counts = sum(recording.counts(span).sum(0) for span in recording.part("train"))
    bins = sum(map(len, recording.part("train")))
    np.testing.assert_allclose(fitted.rate.numpy(), counts / bins, rtol=1e-6)
    assert not fitted.kernels.requires_grad


def test_what_is_read_of_a_glm_is_its_term_of_the_intensity(recorded):
    recording = recorded.recordings[1]
    config = GLMConfig(window_s=0.05, history_window_s=0.05, strengths=[0.1], first_passes=2, passes=2)
    glm = fit_glm(recording, config=config)
    fitted = fitted_glm(glm, recording)
    np.testing.assert_allclose(profile_of(fitted), glm.coupling_map().numpy(), atol=1e-6)
    assert fitted.bin_s == 0.01
    _, batch = next(recorded.in_order("val", [recording]))
    torch.testing.assert_close(fitted.log_intensity(batch), glm.log_intensity(batch))
    assert fitted.event_weight(batch) is None
    assert fitted.rate[4] == 0
