import signal
import threading

import h5py
import pytest

from neuroformer.errors import UserError
from neuroformer.hdf5 import atomic_hdf5


def names(folder):
    return [file.name for file in folder.iterdir()]


def test_the_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "folder" / "numbers.h5"
    with atomic_hdf5(path) as (file, _):
        file["numbers"] = [1, 2]
        assert not path.exists()
    with h5py.File(path) as file:
        assert file["numbers"][()].tolist() == [1, 2]
    assert names(path.parent) == ["numbers.h5"]


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"), atomic_hdf5(tmp_path):
        pass


@pytest.fixture
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_handler")
def test_ctrl_c_waits_until_it_is_heeded(tmp_path):
    steps = []

    def write():
        with atomic_hdf5(tmp_path / "numbers.h5") as (file, heed_interrupt):
            heed_interrupt()
            signal.raise_signal(signal.SIGINT)
            file["numbers"] = [1, 2]
            steps.append("held")
            heed_interrupt()
            steps.append("lost")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert steps == ["held"]
    assert names(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("default_handler")
def test_ctrl_c_that_nobody_heeds_is_heard_at_the_end(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_hdf5(tmp_path / "numbers.h5"):
        signal.raise_signal(signal.SIGINT)
    assert names(tmp_path) == []


def test_a_handler_of_someone_else_is_called_and_put_back(tmp_path):
    calls = []

    def handler(number, frame):
        calls.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        with atomic_hdf5(tmp_path / "numbers.h5") as (_, heed_interrupt):
            signal.raise_signal(signal.SIGINT)
            assert calls == []
            heed_interrupt()
            assert calls == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert names(tmp_path) == ["numbers.h5"]


def test_other_threads_may_write(tmp_path):
    def write():
        with atomic_hdf5(tmp_path / "numbers.h5") as (file, heed_interrupt):
            file["one"] = 1
            heed_interrupt()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert names(tmp_path) == ["numbers.h5"]
