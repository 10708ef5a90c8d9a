import base64
import re
import struct
import zlib

import numpy as np
import pytest

from fmnet.data.grid import Grid
from fmnet.inference.card_pictures import (
    LOWERS,
    RAISES,
    draw_effect,
    draw_scores,
    draw_slices,
    encode_png,
    full_colour,
)
from fmnet.inference.signature_files import world_points


def decode(png):
    """Read a PNG without filters, as `encode_png` writes it: (H, W, 4)."""
    width, height = struct.unpack(">II", png[16:24])
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    assert (
        zlib.crc32(png[start : start + 4 + length])
        == struct.unpack(">I", png[start + 4 + length : start + 8 + length])[0]
    )
    rows = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + length]), np.uint8)
    return rows.reshape(height, 1 + 4 * width)[:, 1:].reshape(height, width, 4)


def pictures(values, grid, limit=1.0):
    svg = draw_slices(values, grid, limit)
    found = [re.search(r"base64,([^\"]+)", one)[1] for one in svg]
    return svg, [decode(base64.b64decode(one)).astype(int) for one in found]


def strength(image, colour):
    """How near to a colour each pixel is: 1 where it is that."""
    distance = np.abs(image[..., :3] - colour).sum(-1)
    return np.where(image[..., 3] > 0, np.clip(1 - distance / 200, 0, 1), 0)


@pytest.fixture
def box() -> Grid:
    """12 x 14 x 10 voxels of 8 x 7 x 9 mm."""
    affine = np.array([[8.0, 0, 0, -44], [0, 7, 0, -50], [0, 0, 9, -30], [0, 0, 0, 1]])
    return Grid(np.ones((12, 14, 10), bool), affine, "MNI152")


@pytest.mark.parametrize(("side", "end"), [(-1, "front"), (1, "back")])
def test_what_lies_on_the_left_in_front_is_drawn_at_l_above(box, side, end):
    x, y, _ = world_points(box).T
    is_there = (np.sign(x) == side) & ((y > 0) == (end == "front"))
    svg, images = pictures(is_there.astype(np.float32), box)
    middle = images[len(images) // 2]
    purple = strength(middle, RAISES) > 0.9
    height, width = purple.shape
    rows = slice(None, height // 2 - 8) if end == "front" else slice(height // 2 + 8, None)
    columns = slice(None, width // 2 - 4) if side < 0 else slice(width // 2 + 4, None)
    assert purple[rows, columns].mean() > 0.95
    shown = purple.copy()
    shown[rows, columns] = False
    assert shown.mean() < 0.1
    labels = {text: float(x) for x, text in re.findall(r'<text x="([\d.]+)"[^>]*>([LR])<', svg[0])}
    assert labels["L"] < 50 < labels["R"]


def test_slices_rise_and_are_named_by_their_height(box):
    svg, images = pictures(world_points(box)[:, 2].astype(np.float32), box, 50.0)
    heights = [float(re.search(r"z = (-?\d+) mm, the left", one)[1]) for one in svg]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (-30, 51)
    lowest, highest = images[0][20, 20], images[-1][20, 20]
    assert np.abs(lowest[:3] - LOWERS).sum() < np.abs(lowest[:3] - RAISES).sum()
    assert np.abs(highest[:3] - RAISES).sum() == 0  # beyond the limit, colours are full


def test_outside_of_the_brain_nothing_is_drawn(grid):
    _, images = pictures(np.ones(grid.n_voxels, np.float32), grid)
    drawn = np.mean([image[..., 3].mean() / 255 for image in images])
    assert 0.3 < drawn < 0.9
    assert all(image[0, 0, 3] == 0 for image in images)


def test_png_is_what_it_was_made_of(rng):
    pixels = rng.integers(0, 256, (5, 7, 4)).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode_png(pixels)), pixels)


def test_colours_are_full_for_the_largest_and_for_a_map_of_few_voxels():
    values = np.zeros((1, 1000), np.float32)
    assert full_colour(values) == 1.0
    values[0, 3] = -2
    assert full_colour(values) == 2.0
    assert full_colour(np.linspace(-1, 1, 1000, dtype=np.float32)[None]) == pytest.approx(
        0.996, abs=2e-3
    )


def test_every_person_is_a_dot_and_the_scan_stands_where_its_score_is():
    groups = [("FM", np.array([0.5, 0.5, 1.0])), ("HC", np.array([-1.0]))]
    picture = draw_scores(groups, 3.0)
    dots = [tuple(map(float, one)) for one in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)]
    assert len(set(dots)) == 4
    own = float(re.search(r'class="own" d="M([\d.]+) ', picture)[1])
    assert own > max(x for x, _ in dots)
    assert "this scan 3<" in picture
    assert (
        'aria-label="Scores of the study&#x27;s people by group, FM: 3 dots; HC: 1 dots' in picture
    )


def test_scores_that_are_all_one_are_drawn():
    assert draw_scores([("A", np.zeros(2)), ("B", np.zeros(1))], 0.0).count("<circle") == 3


def test_effect_lies_left_or_right_of_the_middle_by_its_sign():
    def tip(effect):
        picture = draw_effect(effect, [(-0.1, 0.0, 0.2)], 1.0, "words")
        return float(re.search(r"(\d+\.\d),5 ", picture)[1]), picture

    (left, lower), (right, raised) = tip(-0.5), tip(0.5)
    assert (left, right) == (54, 146)
    assert f"rgb{LOWERS}" in lower
    assert f"rgb{RAISES}" in raised
