"""Pages on scans of every kind: what they say, what they show, and what they must not."""

import colorsys
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from target_bundle_fixtures import EARLIER, add_target

from fmnet.errors import Fault
from fmnet.inference.bundle import read_bundle
from fmnet.inference.card_answers import set_words
from fmnet.inference.card_charts import number
from fmnet.inference.card_sections import checks, output_names, output_words, pictures
from fmnet.inference.card_shell import span
from fmnet.inference.predict import Request, failed, scored
from fmnet.inference.preparation import SeriesPreparation
from fmnet.inference.quality import Reading
from fmnet.inference.scan_card import build_group_page, build_scan_card
from fmnet.inference.sets import promised_level
from fmnet.inference.unseen_scores import UnseenScores

EVIL = "/data/<script>alert(1)</script>\u202e_stat-z.nii.gz"
FAULT = Fault("sub-01", "a map that fits better mirrored", "at least 0.1", "check its affine")


@pytest.fixture(scope="module")
def plain():
    return read_bundle(EARLIER)


@pytest.fixture(scope="module")
def bundle(plain):
    """35 people of each group: above -1.1 a set holds FM, below 1.1 it holds HC."""
    scores = np.linspace(-1.5, 3, 35)
    return replace(plain, unseen=UnseenScores(scores, -scores[::-1]))


@pytest.fixture(scope="module")
def values(plain):
    rng = np.random.default_rng(1)
    return rng.normal(size=(1, plain.preparation.grid.n_voxels)).astype(np.float32)


def readings(is_passed):
    return (
        Reading("orientation", 0.42 if is_passed else -0.3, 0.1, None, "", 0.004,
                None if is_passed else FAULT),
        Reading("smoothness", 9.6, 7.2, 13.4, "mm", 0.02),
        Reading("position", None, None, 8.0, "mm"),
    )  # fmt: skip


def prediction(bundle, status="ok", score=0.0, request=None):
    own = readings(status not in ("forced", "cannot_say"))
    if status == "ok" or status == "forced":
        return scored(bundle, EVIL, score, "", request or Request(), own)
    return replace(failed(EVIL, [FAULT], status), readings=own if status != "error" else ())


def check_stands_alone(page):
    """Nothing of a page is loaded from elsewhere, and nothing runs."""
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|<script|<link|@import|url\((?!#)|srcset|javascript:", text)
    assert "default-src 'none'" in text
    assert "\u202e" not in text


def words_of(page):
    """What a reader sees, without marks."""
    return re.sub(r"\s+", " ", re.sub(r"(?s)<style.*?</style>|<[^>]*>", " ", page))


@pytest.mark.parametrize("status", ["ok", "cannot_say", "forced", "error"])
def test_every_kind_of_scan_has_a_page_that_stands_alone(bundle, values, status):
    given = prediction(bundle, status)
    assert given.status == status
    for shown in (values, None):
        page = build_scan_card(bundle, given, shown)
        check_stands_alone(page)
        said = words_of(page)
        assert "Research use only" in said
        assert "SYNTHETIC" in said
        assert "It is no diagnosis" in said
        assert ("base64" in page) == (shown is not None)
        assert ("could not be read and put on the grid" in said) == (shown is None)
        assert ("No answer" in said) == (status in ("cannot_say", "error"))
        assert ("Among the study's people" in page) == (status in ("ok", "forced"))


@pytest.mark.parametrize(
    ("score", "said"),
    [(0.0, "Cannot say: the score is usual for both FM and HC"),
     (2.0, "The score is usual for FM and unusual for HC"),
     (-2.0, "The score is usual for HC and unusual for FM")],
)  # fmt: skip
def test_answer_is_the_set_in_words(bundle, score, said):
    page = build_scan_card(bundle, prediction(bundle, score=score), None)
    assert f"<strong>{said}.</strong>" in page
    said = "At most 20 % of each group&#x27;s own people get an answer that leaves their group out"
    assert said in page
    assert set_words((), ("FM", "HC")).startswith("Fits neither FM nor HC")


def test_level_that_is_not_promised_is_told(bundle):
    request = Request(level=0.99)
    page = build_scan_card(bundle, prediction(bundle, request=request), None, request)
    assert "1 % was asked for, but 35 people of a group can&#x27;t promise so little" in page
    most = np.ceil(100 * (1 - promised_level(35)))
    assert f"At most {most:.0f} % of each group" in page


def test_probability_is_a_range_at_the_base_rate_that_was_asked_for(bundle):
    request = Request(prevalence=0.1)
    given = replace(prediction(bundle, request=request), probability=0.5, interval=(0.31, 0.62))
    said = words_of(build_scan_card(bundle, given, None, request))
    assert "31 to 62 % would belong to FM, if 10 % of those who are scanned belong to FM" in said
    assert "2 % 8 to 23 % 10 % (this card) 31 to 62 % 50 % 80 to 94 %" in said
    assert "with --prevalence" not in said
    told = words_of(build_scan_card(bundle, prediction(bundle), None))
    assert "Nobody stated how common the group is" in told or "as in the study" in told


def test_score_like_nobodys_has_no_probability(bundle):
    given = prediction(bundle, score=1000.0)
    assert given.groups == ()
    said = words_of(build_scan_card(bundle, given, None))
    assert "Fits neither FM nor HC" in said
    assert "None is stated: the study had nobody with a score like this one" in said
    assert "would belong to" not in said
    assert "neither none" in words_of(build_group_page(bundle, [given]))


def test_nothing_is_told_to_a_tenth_of_a_percent(bundle, values):
    for status in ("ok", "forced", "cannot_say"):
        page = build_scan_card(bundle, prediction(bundle, status), values)
        assert not re.search(r"\d\.\d+ %", words_of(page).replace("0.5 % of the values", ""))


def test_no_colour_is_red_or_green(bundle, values):
    pages = [build_scan_card(bundle, prediction(bundle, one), values) for one in ("ok", "forced")]
    pages.append(build_group_page(bundle, [prediction(bundle)]))
    for page in pages:
        plain = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
        found = [[int(one, 16) for one in re.findall("..", code.ljust(6, code[-1]))]
                 for code in re.findall(r"#([0-9a-f]{6}|[0-9a-f]{3})\b", plain)]  # fmt: skip
        found += [list(map(int, one)) for one in re.findall(r"rgb\((\d+), (\d+), (\d+)\)", plain)]
        assert len(found) > 10
        for colour in found:
            hue, _, strength = colorsys.rgb_to_hls(*(one / 255 for one in colour))
            is_bad = hue < 15 / 360 or 80 / 360 < hue < 170 / 360 or hue > 330 / 360
            assert not (is_bad and strength > 0.3 and max(colour) > 60), colour


def test_checks_are_listed_with_limits_and_what_failed_comes_first(bundle, values):
    page = build_scan_card(bundle, prediction(bundle, "cannot_say"), values)
    said = words_of(page)
    assert "Checks before the score: 1 of 3 failed" in said
    assert f"Orientation {number(-0.3)} at least 0.1 less than 1 % FAILED" in said
    assert "Smoothness 9.6 mm 7.2 to 13.4 2 % passed" in said
    assert "Position not measured at most 8 passed" in said
    assert said.index("Orientation: found a map that fits better mirrored") < said.index("The scan")
    assert page.count('class="failed"') == 1


def test_checks_of_orientation_say_how_many_flips_they_tell():
    gates = SimpleNamespace(
        false_alarms=0.04, caught={"left and right": 0.18, "top and bottom": 0.6}
    )
    said = words_of(checks(readings(True), gates))
    assert "About 4 % fail one of them or more. Of flipped maps of such people, these" in said
    assert "these checks tell: left and right in 18 %, top and bottom in 60 %." in said


def test_forced_score_is_marked_before_all_and_not_explained(bundle, values):
    said = words_of(build_scan_card(bundle, prediction(bundle, "forced"), values))
    assert said.index("Forced: checks of this scan failed") < said.index("Forced: Cannot say")
    assert "A score that was forced is not explained" in said
    assert "Among the study's people (forced)" in said
    assert "what it depends on (forced)" in said


def test_scan_of_the_training_is_marked(bundle):
    given = replace(prediction(bundle), is_of_training=True)
    assert "learned from this very scan" in build_scan_card(bundle, given, None)
    assert "was in training" in build_group_page(bundle, [given])


def test_bundle_of_before_says_that_there_is_no_set(plain, values):
    said = words_of(build_scan_card(plain, prediction(plain), values))
    assert "no set of groups that can't be ruled out" in said.replace("&#x27;", "'")
    assert "How sure that is" in said
    assert "no record of which regions carry it" in said


def test_what_lies_beyond_the_study_is_told(bundle):
    assert "lies above all scores" in build_scan_card(bundle, prediction(bundle, score=9.0), None)


def test_target_has_outputs_with_their_meaning_and_no_probability(tmp_path, values):
    target = read_bundle(add_target(tmp_path / "target", "severity"))
    given = scored(target, EVIL, 0.5)
    page = build_scan_card(target, given, values)
    check_stands_alone(page)
    said = words_of(page)
    assert "value 55 (35 to 77) points value of people with such a scan." in said
    assert "Not: that this person has value" in said
    assert "Motion explains it." in said
    assert "Probability" not in said
    assert output_names(target) == ["value"]
    group = words_of(build_group_page(target, [given]))
    assert "55 (35 to 77)" in group
    assert output_words(failed("a", []), "value") == ""


def test_group_page_counts_and_links(bundle):
    kinds = ["ok", "ok", "cannot_say", "forced", "error"]
    given = [
        prediction(bundle, one, score) for one, score in zip(kinds, [2, 0, 0, 2, 0], strict=True)
    ]
    page = build_group_page(bundle, given, Request(), [f"scan-{k} a.html" for k in range(5)])
    check_stands_alone(page)
    said = words_of(page)
    assert "5 scans: 2 scored, 1 no answer, 1 not usable, 1 forced" in said
    assert "1 of 2: The score is usual for FM and unusual for HC" in said
    assert "1 of 2: Cannot say" in said
    assert re.findall(r'href="([^"]+)"', page) == [f"scan-{k}%20a.html" for k in range(5)]
    assert page.count('class="dot new"') == 2
    assert "SYNTHETIC" in said
    assert "scored FM alone" in said
    assert "forced FM alone" in said
    assert build_group_page(bundle, [])


def test_remarks_on_a_scan_are_told_on_both_pages(bundle):
    given = replace(
        prediction(bundle), reason=" | ".join(["statistic is not stated", *bundle.warnings])
    )
    assert "Of this scan: Statistic is not stated.<" in build_scan_card(bundle, given, None)
    assert ">statistic is not stated<" in build_group_page(bundle, [given])


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.31, 0.62, "31 to 62 %"), (0.001, 0.14, "up to 14 %"), (0.86, 0.9999, "86 % or more"),
     (0.42, 0.421, "42 %"), (0, 1, "less than 1 % to more than 99 %"),
     (0.001, 0.999, "less than 1 % to more than 99 %"), (0.4, 1 - 1e-9, "40 % or more")],
)  # fmt: skip
def test_intervals_are_told_in_whole_percents(low, high, said):
    assert span(low, high) == said


def test_series_is_shown_as_its_spread_over_time(bundle, rng):
    preparation = SeriesPreparation(bundle.preparation.grid, ("rest",), 0.5, 4)
    series = rng.normal(size=(6, preparation.grid.n_voxels)).astype(np.float32)
    page = pictures(replace(bundle, preparation=preparation), series)
    assert "spread over time: this scan" in page
    assert "mean of the training scans" not in page


def test_names_in_the_table_are_what_scans_differ_by(bundle):
    names = [f"/d/sub-{k}_task-pain_stat-z.nii.gz" for k in range(3)]
    given = [failed(name, [FAULT]) for name in [*names, "/d/sub-9_stat-z.nii"]]
    said = words_of(build_group_page(bundle, given))
    assert re.findall(r"sub-\S+", said)[:1] == ["sub-0"]
    assert "_stat-z not usable" not in said
    one = words_of(build_group_page(bundle, given[:1]))
    assert "sub-0_task-pain_stat-z not usable" in one
    again = [failed(f"/d/sub-{k}_ses-0{n}.nii", [FAULT]) for k, n in ((1, 1), (1, 2), (2, 1))]
    said = words_of(build_group_page(bundle, again))
    assert re.findall(r"sub-\d_\S+", said) == ["sub-1_ses-01", "sub-1_ses-02", "sub-2_ses-01"]
    twice = words_of(build_group_page(bundle, [given[0]] * 3))
    assert twice.count("sub-0_task-pain_stat-z not usable") == 3
