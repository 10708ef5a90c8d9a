import io
import warnings

import numpy as np
import pytest
from brain_fixtures import build_map, left_map
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from fmnet.report.brain import choose_cuts, draw_gallery, draw_glass, draw_slices
from fmnet.report.map_words import SignWords

WORDS = SignWords("more in FM", "more in HC")


def pixels(picture):
    """The image of a picture as numbers: (rows, columns, 3)."""
    return np.asarray(Image.open(io.BytesIO(picture.image)).convert("RGB")).astype(int)


def is_red(image):
    """Where an image, (..., 3), is as red as high values are."""
    return (image[..., 0] > image[..., 2] + 60) & (image[..., 0] > image[..., 1] + 60)


def red_beside_letters(figure):
    """For each brain with L and R beside it: where its red is, from 0 at the L to 1 at the R."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    found = []
    for axes in figure.axes:
        letters = {text.get_text(): text for text in axes.texts}
        if not {"L", "R"} <= set(letters):
            continue
        left, right = (letters[name].get_window_extent().x0 for name in "LR")
        box = axes.get_window_extent()
        rows = slice(image.shape[0] - int(box.y1), image.shape[0] - int(box.y0))
        columns = np.argwhere(is_red(image[rows, int(box.x0) : int(box.x1)]))[:, 1]
        if len(columns):
            found.append((columns.mean() + box.x0 - left) / (right - left))
    return found


@pytest.mark.parametrize("draw", [draw_slices, draw_glass])
def test_left_is_left(draw):
    figure, *_ = draw.__wrapped__(left_map(), "visual", 0.0, "Left", WORDS)
    places = red_beside_letters(figure)
    assert len(places) >= 2
    assert max(places) < 0.45


def test_values_below_the_threshold_are_not_drawn():
    one = left_map()
    drawn, none = (
        is_red(pixels(draw_slices(one, "pressure", limit, "", WORDS))[:, :800]).sum()
        for limit in (2.0, 4.0)
    )
    assert drawn > 1000
    assert none < 0.3 * drawn  # the line that says what red means is in red


def test_sentence_is_written_across_a_picture_that_is_not_to_be_believed():
    one, sentence = left_map(), "No stable signature: the halves don't agree"
    plain, marked = (
        pixels(draw_glass(one, "visual", 0.0, "", WORDS, across=across))
        for across in ("", sentence)
    )
    rows, columns = plain.shape[0], plain.shape[1]
    middle = (slice(rows // 3, 2 * rows // 3), slice(columns // 5, 3 * columns // 5))
    assert (np.abs(plain[middle] - marked[middle]).sum(axis=-1) > 60).mean() > 0.03


def test_gallery_draws_counts_in_colours_of_their_own():
    values = np.full((2, build_map().grid.n_voxels), 30.0)
    picture = draw_gallery(
        [("mean of FM", build_map()), ("scans", build_map(values, "coverage", units="scans"))],
        "visual",
    )
    image = pixels(picture)
    half = image.shape[0] // 2
    is_yellow = (image[..., 0] > 200) & (image[..., 1] > 200) & (image[..., 2] < 90)
    assert is_yellow[half:].sum() > 1000
    assert is_yellow[:half].sum() == 0
    assert picture.alt.startswith("Maps of visual. mean of FM: -")
    assert "scans: 30 to 30 scans" in picture.alt


def test_cuts_go_where_most_is_drawn_and_cover_the_brain():
    grid = build_map().grid
    values = np.zeros((2, *grid.shape))
    values[1, 7, 8, :] = 0.5  # below the threshold
    heights = grid.affine[2, 3] + 12 * np.arange(grid.shape[2])
    values[1, 7, 8, np.argmin(np.abs(heights - 20))] = 3.0
    cuts = choose_cuts(build_map(values[:, grid.mask]), "visual", 1.0)
    assert len(cuts) == 8
    assert heights[np.argmin(np.abs(heights - 20))] in cuts
    assert cuts == sorted(cuts)


def test_names_are_drawn_as_they_are_written():
    odd = ("$\\frac{1}{$ <b>", "a\nb\tc" * 40)
    one = build_map(contrasts=odd, units="$z^{")
    words = SignWords("more in $FM$" * 20, "\x1b]0;title\x07")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = [draw_slices(one, name, 1.0, name, words, name, name) for name in odd]
    assert all(picture.name.startswith("slices_pattern_") for picture in pictures)
    assert all(picture.name.replace("_", "").isalnum() for picture in pictures)
