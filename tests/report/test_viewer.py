import base64
import io
import json
import re

import numpy as np
import pytest
from brain_fixtures import left_map
from PIL import Image

from fmnet.errors import printable
from fmnet.report.viewer import REDRAW, build_viewer


@pytest.fixture(scope="module")
def page():
    return build_viewer(left_map(), "visual", 1.0)


def test_viewer_asks_nothing_outside(page):
    links = re.findall(r"""(?:src|href|url|action)\s*[=(:]\s*["']?([^"'\s>)]+)""", page)
    assert not [link for link in links if re.match(r"(?:https?:)?//", link)]
    assert "favicon" not in page
    assert "<link" not in page
    assert "default-src 'none'" in page
    # in the head, before anything that could be loaded
    assert page.index("Content-Security-Policy") < page.index("<script")


def test_viewer_is_light_and_the_same_for_the_same_map(page):
    assert len(page) < 500_000
    assert page == build_viewer(left_map(), "visual", 1.0)


def test_viewer_is_drawn_again_where_its_page_changes_width(page):
    assert page.count(REDRAW) == 1
    assert page.index("slider.oninput = ") < page.index(REDRAW) < page.index("</body>")


def test_viewer_survives_a_page_that_spells_out_odd_characters(page):
    assert page == "\n".join(map(printable, page.split("\n")))


def test_left_is_left_in_the_viewer(page):
    params = json.loads(re.search(r"brainsprite\((\{.*?\})\);", page, re.DOTALL)[1])
    assert params["showLR"]
    assert not params["radiological"]
    assert params["affine"][0][0] > 0
    sizes = params["nbSlice"]
    image = re.search(r'id="overlayImg-brain"[^>]*?base64,([^"]+)"', page, re.DOTALL)[1]
    sprite = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGBA"))
    n_columns = sprite.shape[1] // sizes["Y"]
    drawn = np.array([
        (sprite[row * sizes["Z"] : (row + 1) * sizes["Z"],
                column * sizes["Y"] : (column + 1) * sizes["Y"], 3] > 0).sum()
        for row, column in (divmod(x, n_columns) for x in range(sizes["X"]))
    ])  # fmt: skip
    x_mm = params["affine"][0][0] * (np.arange(sizes["X"]) + 1) + params["affine"][0][3]
    assert drawn[x_mm < -30].sum() > 100
    assert drawn[x_mm > 0].sum() == 0
