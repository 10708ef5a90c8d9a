import numpy as np
from brain_fixtures import build_map, left_map

from fmnet.data.listing import Labels
from fmnet.report.map_words import SignWords, alt_text, peaks, sign_words, threshold_words

WORDS = SignWords("more in FM", "more in HC")
LABELS = Labels("group", "FM", "HC")


def test_alt_text_says_what_is_to_be_seen_and_where():
    said = alt_text(left_map(), "visual", 1.0, "Pattern", WORDS)
    assert said.startswith("Pattern. Red (more in FM) in ")
    assert "largest in left, " in said
    assert "blue" not in said
    named = alt_text(left_map(), "visual", 1.0, "Pattern", WORDS, {"positive": ["Insula_L"]})
    assert "largest in Insula_L: 3 at (-" in named


def test_alt_text_of_an_empty_map_says_so():
    assert alt_text(left_map(), "visual", 5.0, "Z", WORDS) == "Z. No voxel exceeds the threshold."


def test_peaks_are_where_the_largest_values_of_each_sign_lie():
    grid = build_map().grid
    values = np.zeros((2, grid.n_voxels))
    values[0, [3, 40]] = 2.5, -4.0
    found = peaks(build_map(values), "pressure", 1.0)
    places = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    assert found["positive"].place == tuple(places[3])
    assert found["negative"] == (-4.0, tuple(places[40]), 1)
    assert peaks(build_map(values), "visual", 1.0) == {}


def test_colours_are_explained_in_the_labels_of_the_study():
    assert str(sign_words("groupdifference", LABELS)) == "red: more in FM; blue: more in HC"
    assert sign_words("weights", LABELS).negative == "a higher value speaks for HC"
    assert sign_words("pattern", Labels("g", "p" * 90, "HC")).positive.endswith("...")
    # of those in a group, not of those who vary with the score
    assert "more in" not in str(sign_words("pattern", LABELS))
    assert sign_words("attribution", LABELS).negative == "sets scores of HC above those of FM"


def test_thresholds_are_stated():
    z = {"threshold": "fwe", "threshold_fwe": 4.812, "cluster_z": 3.0, "n_permutations": 200}
    assert "|z| above 4.81, p < 0.05 family-wise" in threshold_words(z)
    assert "clusters of |z| above 3" in threshold_words(z | {"threshold": "cluster"})
    assert "false discovery rate" in threshold_words(z | {"threshold": "fdr"})
