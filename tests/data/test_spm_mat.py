import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from fmnet.data.spm_mat import read_matrices, write_matrices

AFFINE = np.array([[-2.0, 0, 0, 80], [0, 3, 0, -112.5], [0, 0, 4, -50], [0, 0, 0, 1]])


def saved(matrices, **options):
    file = io.BytesIO()
    savemat(file, matrices, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{"format": "4"}, {"format": "5"}, {"format": "5", "do_compression": True}]
)
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16, np.uint8])
def test_reads_what_is_saved(options, kind):
    values = np.abs(AFFINE).astype(kind)
    found = read_matrices(saved({"other": np.ones((3, 2)), "M": values, "mat": values}, **options))
    assert set(found) == {"M", "mat"}
    np.testing.assert_array_equal(found["mat"], values.astype(float))


def test_of_several_volumes_the_first_is_written_again():
    several = np.stack([AFFINE, AFFINE + 1], axis=-1)
    found = read_matrices(saved({"mat": several}))
    assert found["mat"].shape == (4, 4, 2)
    again = loadmat(io.BytesIO(write_matrices(found)))
    np.testing.assert_array_equal(again["mat"], AFFINE)


def test_both_byte_orders_of_format_4():
    header = struct.pack(">5i", 1000, 4, 4, 0, 4) + b"mat\0"
    content = header + AFFINE.astype(">f8").tobytes(order="F")
    np.testing.assert_array_equal(read_matrices(content)["mat"], AFFINE)
    np.testing.assert_array_equal(loadmat(io.BytesIO(content))["mat"], AFFINE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "without mat or M"), (b"\xff" * 200, "no .mat file"), (b"a" * 10, "ends early"),
        (saved({"N": AFFINE}), "without mat or M"),
        (saved({"mat": AFFINE[:3]}), "no affine"), (saved({"mat": AFFINE * np.nan}), "no affine"),
        (saved({"mat": AFFINE * 1j}), "no matrix of real numbers"),
        (saved({"mat": "text"}), "no matrix of real numbers"),
        (saved({"mat": {"a": 1}}), "no matrix of real numbers"),
        (saved({"mat": AFFINE * 1j}, format="4"), "no matrix of real numbers"),
        (saved({"mat": AFFINE})[:-9], "ends early"),
        (saved({"mat": AFFINE}, format="4")[:-9], "bytes for a matrix"),
        (saved({"mat": AFFINE})[:128] + struct.pack("<II", 15, 4) + b"garb", "damaged"),
        (
            saved({"mat": AFFINE})[:128]
            + struct.pack("<II", 15, len(bomb := zlib.compress(b"\0" * 10**7)))
            + bomb,
            "without mat or M",
        ),
    ],
)  # fmt: skip
def test_other_files_are_refused(content, said):
    with pytest.raises(ValueError, match=said):
        read_matrices(content)


@given(
    form=st.sampled_from(["4", "5"]),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 200),
)
def test_whatever_is_altered_is_read_or_refused(form, edits, cut):
    content = bytearray(saved({"mat": AFFINE, "M": AFFINE}, format=form))
    for place, value in edits:
        content[place % len(content)] = value
    try:
        found = read_matrices(bytes(content[: len(content) - cut]))
    except ValueError as error:
        said = str(error)
    else:
        said = "" if all(one.shape[:2] == (4, 4) for one in found.values()) else "other shapes"
    assert said == "" or ".mat" in said or "dimension" in said


def test_what_ends_the_process_in_scipy_is_refused():
    content = bytearray(saved({"M": AFFINE}))
    place = content.index(struct.pack("<II", 9, 128))  # the tag of the numbers
    content[place] = 0x50
    with pytest.raises(ValueError, match="whose M holds no numbers"):
        read_matrices(bytes(content))
