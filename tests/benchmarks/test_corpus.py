import zlib
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from benchmarks.corpus import doors
from benchmarks.corpus.answers import (
    ANY,
    CONTROL,
    ERROR,
    FORCED,
    FOUR_PARTS,
    Answer,
    judge_end,
    judge_row,
)
from benchmarks.corpus.case import Case, Materials, unique
from benchmarks.corpus.craft import DATATYPES, bomb, extension, nifti, patch, turn
from benchmarks.corpus.run import (
    BAD,
    HANG,
    MEMORY,
    NOT_MADE,
    RIGHT,
    TRACEBACK,
    WRONG,
    Corpus,
    Worker,
    all_cases,
    answer,
    count_outcomes,
    judge,
    list_bad,
)
from fmnet.errors import BenchmarkError

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "format_1"
AFFINE = np.array([[3.0, 0, 0, -20], [0, 4, 0, -30], [0, 0, 5, -40], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    return Materials(tmp_path_factory.mktemp("corpus"), BUNDLE)


@pytest.fixture
def values(rng):
    return rng.normal(size=(7, 8, 9)).astype(np.float32)


def _case(name):
    return next(case for case in all_cases() if f"{case.kind}: {case.name}" == name)


def _outcome(materials, case, door, folder):
    return judge(case, door, answer(materials, case, door, folder), Corpus())["outcome"]


def test_several_hundred_inputs_with_an_expectation_each():
    cases = all_cases()
    assert len(cases) >= 2000
    others = {"error, all results lost", FORCED, "marked", "unmarked"}
    assert all(case.right_at(door) <= ANY | others for case in cases for door in case.doors)
    assert {door for case in cases for door in case.doors} == set(doors.DOORS)
    assert min(Counter(case.kind for case in cases).values()) > 1


def test_two_cases_of_one_name_are_refused():
    case = _case("units: unknown, NIfTI-1, <")
    with pytest.raises(BenchmarkError, match=r"'unknown, NIfTI-1, <'.* twice"):
        unique([case, case])


@pytest.mark.parametrize(
    "name",
    [
        "units: unknown, NIfTI-2, >",
        "orientations: PSR, NIfTI-2, qform alone",
        "types: int16, >, NIfTI-1",
        "gzip: three members",
        "truncated: 100 bytes",
        "dims: first negative",
        "constant: 0",
        "thing: git-annex pointer",
        "pair: without .hdr",
    ],
)
def test_sound_and_hostile_maps_at_both_doors(materials, name, tmp_path):
    for door in ("predict", "training"):
        folder = tmp_path / door
        folder.mkdir()
        assert _outcome(materials, _case(name), door, folder) not in BAD


@pytest.mark.parametrize(
    "name",
    ["table, encoding: CRLF", "table, columns: without path", "tree, layout: no func folder",
     "bundle, files: as it is", "bundle, files: model.onnx with one bit flipped",
     "tree, spelling: Latin-1 in the name of one", "signature: as it is", "signature: none"],
)  # fmt: skip
def test_tables_trees_and_bundles(materials, name, tmp_path):
    case = _case(name)
    for door in case.doors:
        folder = tmp_path / door
        folder.mkdir()
        assert _outcome(materials, case, door, folder) not in BAD


def test_run_and_its_bundle(materials, tmp_path):
    for door in ("run", "run training"):
        folder = tmp_path / door
        folder.mkdir()
        assert _outcome(materials, _case("BOLD, header: plain"), door, folder) == RIGHT


@pytest.mark.slow
def test_gates_and_hashes_of_training_scans(materials, tmp_path):
    outcomes = []
    for name in (
        "gates, maps: upside down", "gates, forced: upside down", "unseen scores: negative [None]",
        "gates, file: limits missing", "training scans: a scan that is known",
    ):  # fmt: skip
        case = _case(name)
        (folder := tmp_path / name.replace(" ", "-")).mkdir()
        outcomes.append(_outcome(materials, case, case.doors[0], folder))
    assert not set(outcomes) & set(BAD)


def _raising(*_):
    raise ZeroDivisionError("by hand")


def test_traceback_wrong_answer_and_what_cannot_be_made(materials, monkeypatch, tmp_path):
    case = _case("units: unknown, NIfTI-1, <")
    outcomes = []
    for number, door in enumerate((_raising, lambda *_: Answer("other score"))):
        monkeypatch.setitem(doors.DOORS, "predict", door)
        (tmp_path / str(number)).mkdir()
        outcomes.append(_outcome(materials, case, "predict", tmp_path / str(number)))
    unmade = Case("x", "y", lambda *_: (_ for _ in ()).throw(PermissionError("mknod")))
    (tmp_path / "unmade").mkdir()
    outcomes.append(_outcome(materials, unmade, "predict", tmp_path / "unmade"))
    assert outcomes == [TRACEBACK, WRONG, NOT_MADE]


def test_time_and_memory_count_before_the_answer():
    case = Case("x", "y", lambda *_: None)
    said = {"answer": "score", "seconds": 0.1, "peak_mb": 3.0, "is_traceback": False}
    for more, outcome in (
        ({}, RIGHT), ({"peak_mb": 1001.0}, MEMORY), ({"seconds": 2.1}, HANG),
        ({"answer": "MemoryError", "is_traceback": True}, MEMORY), ({"answer": ERROR}, WRONG),
    ):  # fmt: skip
        assert judge(case, "predict", said | more, Corpus()) == {"outcome": outcome}


def test_message_without_its_four_parts_is_no_clear_error():
    whole = "a.nii: found nothing; accepted: a map; to do: give one."
    row = {"status": "error", "reason": whole, "score": "n/a", "probability": "n/a"}
    assert judge_row(row, 1.0, 0.1).answer == ERROR
    assert judge_row(row | {"reason": "nothing there"}, 1.0, 0.1).answer == "unclear message"
    assert judge_row(row | {"status": "cannot_say"}, 1.0, 0.1).answer == "cannot_say"
    scored = {"status": "ok", "reason": "n/a", "score": "1.05", "probability": "0.5"}
    assert judge_row(scored, 1.0, 0.1).answer == "score"
    assert judge_row(scored | {"reason": "not stated"}, 1.0, 0.1).answer == "note"
    assert judge_row(scored, 2.0, 0.1).answer == "other score"
    assert judge_row(scored | {"score": "nan"}, 1.0, 0.1).answer == "not finite"
    forced = scored | {"status": "forced", "gates_failed": "scale", "reason": whole}
    assert judge_row(forced, 9.0, 0.1).answer == FORCED
    assert judge_row(forced | {"reason": "n/a"}, 1.0, 0.1).answer == "forced, unmarked"
    assert judge_row(row | {"set": "FM"}, 1.0, 0.1).answer == "numbers without a score"
    usage = "usage: fmnet-predict BUNDLE\nfmnet-predict: error: argument --level: '2' is no number"
    assert judge_end(f"{usage} between 0 and 1").answer == ERROR
    assert judge_end("Traceback").answer == "unclear message"
    unforeseen = whole.replace("nothing", "something that fmnet doesn't foresee (KeyError: 1)")
    assert judge_row(row | {"reason": unforeseen}, 1.0, 0.1).answer == "unforeseen"
    assert not FOUR_PARTS.search(": found ; accepted: a; to do: b")
    assert CONTROL.search("a\x1b[31m")
    assert not CONTROL.search("Köln\t1\n")


def test_counts_and_list_of_what_is_not_right():
    row = {
        "kind": "units",
        "case": "micron",
        "door": "predict",
        "right": "score",
        "answer": "score",
        "outcome": RIGHT,
        "seconds": 0.1,
        "peak_mb": 1.0,
        "detail": "",
    }
    rows = [row, row | {"door": "training", "outcome": WRONG, "answer": "other score"},
            row | {"kind": "gzip", "case": "bomb", "outcome": MEMORY}]  # fmt: skip
    table = pd.DataFrame(rows)
    counts = count_outcomes(table).set_index("kind")
    assert counts.loc["all", "inputs"] == 2
    assert (counts.loc["units", [RIGHT, WRONG]] == 1).all()
    assert [line.split(":")[0] for line in list_bad(table)] == [WRONG, MEMORY]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", sorted(set(DATATYPES) - {"c8", "c16"}))
def test_bytes_are_those_of_the_format(values, version, order, code):
    slope, inter = (1.0, 0.0) if code[0] == "f" else (0.06, -7.0 if code[0] == "u" else 0.0)
    content = nifti(
        values,
        AFFINE,
        code,
        version,
        order,
        extension(4, b"AFNI" * 20, order=order),
        slope=slope,
        inter=inter,
    )
    image_class = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = image_class.from_bytes(content)
    np.testing.assert_allclose(image.get_sform(), AFFINE)
    np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-5)
    np.testing.assert_allclose(image.get_fdata(), values, atol=slope if code[0] in "iu" else 1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert len(image.header.extensions) == 1


@pytest.mark.parametrize("axes", ["LAS", "PSR", "IRP"])
def test_turned_map_stays_in_its_place(values, axes):
    turned, affine = turn(values, AFFINE, axes)
    content = nifti(turned, affine, sform_code=0)
    back = nib.as_closest_canonical(nib.Nifti1Image.from_bytes(content))
    np.testing.assert_allclose(back.get_fdata(), values)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-4)


def test_bomb_begins_as_it_should(values):
    content = bomb(nifti(values, AFFINE), 1 << 22)
    assert len(content) < 20_000
    unpacked = zlib.decompressobj(31).decompress(content, 352)
    assert unpacked == nifti(values, AFFINE)[:352]
    assert patch(unpacked, vox_offset=1.0)[108:112] == b"\0\0\x80?"


@pytest.mark.slow
def test_process_that_hangs_is_replaced(tmp_path):
    worker = Worker(Corpus(str(BUNDLE), hang_s=1e-4), tmp_path)
    number = all_cases().index(_case("units: unknown, NIfTI-1, <"))
    try:
        assert worker.ask(number, "predict")["outcome"] == HANG
        worker.corpus = Corpus(str(BUNDLE))
        assert worker.ask(number, "predict")["outcome"] == RIGHT
    finally:
        worker.stop()


@pytest.mark.slow
def test_suite_writes_a_table_and_counts(tmp_path):
    lines = Corpus(str(BUNDLE), only="codes: sform 4").run(tmp_path)
    answers = pd.read_csv(tmp_path / "answers.tsv", sep="\t")
    assert set(answers["outcome"]) <= {RIGHT, "note"}
    assert any(line.startswith("counts") for line in lines)
    with pytest.raises(BenchmarkError, match=r"no case .no such case."):
        Corpus(str(BUNDLE), only="no such case").run(tmp_path)


@pytest.mark.slow
def test_installed_command_in_the_c_locale(materials, tmp_path):
    assert {f"{case.kind}: {case.name}" for case in all_cases()} >= doors.COMMANDS
    case = _case("file name: emoji")
    assert _outcome(materials, case, "command", tmp_path) not in BAD
