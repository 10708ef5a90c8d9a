import pickle

import numpy as np
import pytest

from fmnet.baselines.memo import Memo


@pytest.fixture
def calls():
    return []


@pytest.fixture
def ask(calls):
    """Ask a memo for an array of 1000 bytes, noting what is computed."""

    def ask(memo, key):
        def compute():
            calls.append(key)
            return [np.zeros(125)]

        return memo.get(key, compute)

    return ask


def test_computes_once(ask, calls):
    memo = Memo()
    assert ask(memo, "a") is ask(memo, "a")
    assert calls == ["a"]


def test_forgets_what_was_not_used_for_longest(ask, calls):
    memo = Memo(limit=2000)
    for key in "abacab":
        ask(memo, key)
    assert calls == list("abcb")


def test_keeps_what_it_gives_though_it_is_too_large(ask, calls):
    memo = Memo(limit=1)
    for key in "aab":
        ask(memo, key)
    assert calls == list("ab")


def test_takes_nothing_to_other_processes(ask):
    memo = Memo(limit=5000)
    ask(memo, "a")
    other = pickle.loads(pickle.dumps(memo))
    assert other.limit == 5000
    assert len(pickle.dumps(memo)) < 200
