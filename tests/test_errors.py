import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.errors import Fault, TrainingError, printable


def test_error_reaches_another_process_whole():
    faults = [Fault("a", "b", "c", "d"), Fault("e", "f", "g", "h")]
    error = TrainingError(faults)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is TrainingError
    assert again.faults == tuple(faults)
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, 3 mm; ü; 脳", "plain, 3 mm; ü; 脳"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\r\nb\tc\0\x7f\x9b", r"a\r\nb\tc\x00\x7f\x9b"),
        ("\u202egnp\u2066\u200f\u061c", r"\u202egnp\u2066\u200f\u061c"),
        ("sub\u200b-01\ufeff\u2028", r"sub\u200b-01\ufeff\u2028"),
        ("m\udcfcller\ud800", r"m\xfcller\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_signs_that_steer_a_terminal_are_spelt_out(text, expected):
    assert printable(text) == expected
    fault = Fault(text, text, text, text)
    assert str(fault) == (f"{expected}: found {expected}; accepted: {expected}; to do: {expected}.")
    assert fault.where == text
    str(TrainingError([fault, fault])).encode("utf-8")


@given(st.text(st.characters(exclude_categories=[]), max_size=20))
def test_what_is_printable_stays_so(text):
    assert "\x1b" not in printable(text)
    assert printable(printable(text)) == printable(text)
    printable(text).encode("utf-8")
