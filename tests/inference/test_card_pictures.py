import base64
import re
import struct
import zlib

import numpy as np
import pytest

from fmnet.data.grid import Grid
from fmnet.inference.card_charts import LOWERS, RAISES
from fmnet.inference.card_pictures import (
    EFFECTS,
    MISSING,
    VALUES,
    draw_colour_bar,
    draw_slices,
    encode_png,
    full_colour,
)
from fmnet.inference.signature_files import world_points


def chunk_of(png, kind):
    """Find what a chunk of a PNG holds, and see that its check sum is right."""
    start = png.index(kind)
    (length,) = struct.unpack(">I", png[start - 4 : start])
    content = png[start : start + 4 + length]
    assert zlib.crc32(content) == struct.unpack(">I", png[start + 4 + length :][:4])[0]
    return content[4:]


def decode(png):
    """Read a PNG with a palette and without filters, as `encode_png` writes it: (H, W, 4)."""
    width, height = struct.unpack(">II", png[16:24])
    rows = np.frombuffer(zlib.decompress(chunk_of(png, b"IDAT")), np.uint8)
    indices = rows.reshape(height, 1 + width)[:, 1:]
    colours = np.frombuffer(chunk_of(png, b"PLTE"), np.uint8).reshape(256, 3)
    opacity = np.frombuffer(chunk_of(png, b"tRNS"), np.uint8)
    return np.dstack([colours[indices], opacity[indices]])


def pictures(values, grid, limit=1.0, colours=EFFECTS):
    svg = draw_slices(values, grid, limit, colours)
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
    middle = images[len(images) // 2 - 1]
    purple = strength(middle, RAISES) > 0.9
    height, width = purple.shape
    rows = slice(None, height // 2 - 5) if end == "front" else slice(height // 2 + 5, None)
    columns = slice(None, width // 2 - 3) if side < 0 else slice(width // 2 + 3, None)
    assert purple[rows, columns].mean() > 0.95
    shown = purple.copy()
    shown[rows, columns] = False
    assert shown.mean() < 0.1
    labels = {text: float(x) for x, text in re.findall(r'<text x="([\d.]+)"[^>]*>([LR])<', svg[0])}
    assert labels["L"] < 50 < labels["R"]


def test_slices_rise_and_are_named_by_their_height(box):
    svg, images = pictures(world_points(box)[:, 2].astype(np.float32), box, 50.0)
    heights = [float(re.search(r"z = (-?\d+) mm, the left", one)[1]) for one in svg[:-2]]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (-30, 51)
    lowest, highest = images[0][20, 20], images[-3][20, 20]
    assert np.abs(lowest[:3] - LOWERS).sum() < np.abs(lowest[:3] - RAISES).sum()
    assert np.abs(highest[:3] - RAISES).sum() == 0  # beyond the limit, colours are full


def test_outside_of_the_brain_nothing_is_drawn(grid):
    _, images = pictures(np.ones(grid.n_voxels, np.float32), grid)
    drawn = np.mean([image[..., 3].mean() / 255 for image in images])
    assert 0.3 < drawn < 0.9
    assert all(image[0, 0, 3] == 0 for image in images)


@pytest.mark.parametrize(("view", "at_left", "at_right"), [(-2, "L", "R"), (-1, "P", "A")])
def test_what_lies_above_is_drawn_above_from_behind_and_from_the_left(box, view, at_left, at_right):
    x, y, z = world_points(box).T
    across = x if view == -2 else y
    svg, images = pictures(((z > 15) & (across < 0)).astype(np.float32), box)
    purple = strength(images[view], RAISES) > 0.9
    height, width = purple.shape
    assert purple[: height // 2 - 6, : width // 2 - 4].mean() > 0.95
    assert purple[height // 2 + 6 :].sum() == purple[:, width // 2 + 6 :].sum() == 0
    labels = {
        text: float(x) for x, text in re.findall(r'<text x="([\d.]+)"[^>]*>([LRPA])<', svg[view])
    }
    assert labels[at_left] < 50 < labels[at_right]


def test_where_there_is_no_data_a_scan_is_grey_and_never_zero(box):
    values = np.zeros(box.n_voxels, np.float32)
    values[world_points(box)[:, 0] > 0] = np.nan
    _, images = pictures(values, box, colours=VALUES)
    middle = images[2]
    half = middle.shape[1] // 2
    assert (middle[:, half + 3 :, :3] == MISSING).all()
    assert (middle[:, : half - 3, :3] == 232).any(axis=-1).all()


def test_png_is_what_it_was_made_of(rng):
    indices = rng.integers(0, 256, (5, 7)).astype(np.uint8)
    palette = rng.integers(0, 256, (256, 4)).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode_png(indices, palette)), palette[indices])


def test_colour_bars_of_a_page_have_names_of_their_own():
    bars = draw_colour_bar(2.0) + draw_colour_bar(0.5, VALUES, "scan")
    assert re.findall(r'linearGradient id="(\w+)"', bars) == ["effects", "scan"]
    assert re.findall(r"url\(#(\w+)\)", bars) == ["effects", "scan"]
    assert "above zero" in bars
    assert "raises the score" in bars


def test_colours_are_full_for_the_largest_and_for_a_map_of_few_voxels():
    values = np.zeros((1, 1000), np.float32)
    assert full_colour(values) == 1.0
    values[0, 3] = -2
    assert full_colour(values) == 2.0
    values[0, 4:] = np.nan
    assert full_colour(values) == pytest.approx(2, abs=0.1)
    assert full_colour(np.full((1, 9), np.nan, np.float32)) == 1.0
    assert full_colour(np.linspace(-1, 1, 1000, dtype=np.float32)[None]) == pytest.approx(
        0.996, abs=2e-3
    )
