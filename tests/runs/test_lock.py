import errno

import pytest

from fmnet.errors import RunError
from fmnet.runs.lock import MARKER, holding


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_folder_that_is_held_is_refused(tmp_path, first, second):
    refused = pytest.raises(RunError, match=r"found another process at work in it; .*wait until")
    with holding(tmp_path, first), refused, holding(tmp_path, second):
        pass
    with holding(tmp_path, is_shared=False):  # free again
        assert (tmp_path / MARKER).exists()


def test_shards_hold_a_folder_together(tmp_path):
    with holding(tmp_path / "run", is_shared=True), holding(tmp_path / "run", is_shared=True):
        pass


def test_file_system_without_locks_is_worked_on(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with holding(tmp_path, is_shared=False):
        pass


def test_other_faults_of_the_disk_are_not_passed_over(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="Input/output"), holding(tmp_path, is_shared=False):
        pass
