"""What benchmarks measure in processes of their own, measured in the one of the tests."""

import pickle

import pytest

from benchmarks.fresh_process import _measure


@pytest.fixture
def measure_here(monkeypatch):
    """Let a module measure work without a fresh process, which takes seconds to import.

    That one is used is tested with `measure_alone`; that it could be, by pickling what it is given.
    """

    def patch(module: str) -> None:
        def measure(work, *arguments):
            return _measure(*pickle.loads(pickle.dumps((work, arguments))))

        monkeypatch.setattr(f"{module}.measure_alone", measure)

    return patch
