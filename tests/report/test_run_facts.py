import json
from dataclasses import replace

import pytest

import fmnet
from fmnet.errors import Fault
from fmnet.report.run_facts import command_line, data_lines, duration, run_facts, without_home

RECORD = {
    "command": ["/opt/fmnet/scripts/train.py", "cohort.root=/home/jane/pain/maps", "seed=3"],
    "seed": 3,
    "started": "2026-02-03T04:05:06+00:00",
    "seconds": 754.2,
    "versions": {"fmnet": "0.0.9", "torch": "2.13.0"},
    "git_commit": "abc123",
    "code_sha256": "c" * 64,
    "data_sha256": "d" * 64,
}


@pytest.fixture
def facts_of(build_study, tmp_path):
    def facts(record, settings=None):
        if record is not None:
            (tmp_path / "manifest.json").write_text(json.dumps(record))
        found = run_facts(build_study().cohort, settings or {}, tmp_path)
        return {fact.about: list(fact.lines) for fact in found}

    return facts


def test_head_of_the_page_says_when_with_what_and_how(facts_of):
    facts = facts_of(RECORD)
    assert facts["run"] == ["2026-02-03 04:05 UTC, in 12.6 min, seed 3"]
    assert facts["software"] == [
        f"fmnet 0.0.9, commit abc123; this page was written by fmnet {fmnet.__version__}",
        "torch 2.13.0",
    ]
    assert facts["command"] == ["python scripts/train.py 'cohort.root=~/pain/maps' seed=3"]
    assert facts["SHA-256"] == [f"{'d' * 64} (scans)", f"{'c' * 64} (code)"]
    assert "gone on with" not in facts


def test_run_that_was_gone_on_with_keeps_its_date(facts_of):
    call = {"command": ["scripts/train.py", "resume=true"], "started": "2026-03-01T00:00:00+00:00"}
    facts = facts_of(RECORD | {"resumed": [call]})
    assert facts["run"] == ["2026-02-03 04:05 UTC, in 12.6 min, seed 3"]
    assert facts["gone on with"] == ["2026-03-01 00:00 UTC: python scripts/train.py resume=true"]


@pytest.mark.parametrize("record", [None, {}, {"started": "yesterday", "versions": {}}])
def test_what_earlier_versions_did_not_record_is_left_out(facts_of, record):
    facts = facts_of(record)
    assert set(facts) == {"data"} | ({"run"} if record else set())


def test_data_say_where_scans_come_from_and_whose_they_are(build_study):
    cohort = build_study().cohort
    reader = {"_target_": "fmnet.data.bids.read_bids", "root": "/data/home/jo/maps", "stat": None}
    source, people, grid = data_lines(cohort, {"cohort": reader})
    assert source == "maps of BIDS derivatives: ~/maps"
    labels = cohort.listing.labels
    n = sum(scan.label == labels.positive for scan in cohort.scans)
    assert people.startswith(f"{n} {labels.positive}, {len(cohort.scans) - n} {labels.negative}")
    assert grid.endswith(f"{cohort.grid.n_voxels} in the mask")
    gone = tuple(Fault(name, "no map", "one", "supply it", name) for name in ("x", "x", "y"))
    cohort = replace(cohort, left_out=gone, set_aside=cohort.scans[:1])
    assert data_lines(cohort, {})[1] == "1 person in the lock-box, 2 people left out"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/home/jane/maps", "~/maps"),
        ("cohort.root=/Users/jane/My maps", "cohort.root=~/My maps"),
        (r"C:\Users\Jane\maps", r"~\maps"),
        ("/mnt/home/jane", "~"),
        ("/root/maps", "~/maps"),
        ("['/home/a/x','/home/b/y']", "['~/x','~/y']"),
        ("/data/homeland/maps", "/data/homeland/maps"),
        ("/rootless/maps", "/rootless/maps"),
        ("outputs/synthetic", "outputs/synthetic"),
    ],
)
def test_homes_are_not_named(text, said):
    assert without_home(text) == said


def test_commands_can_be_typed_again():
    assert command_line([]) == ""
    notebook = ["/opt/lib/ipykernel_launcher.py", "-f", "/home/me/kernel-7.json"]
    assert command_line(notebook) == "fmnet.study in a notebook"
    typed = command_line([r"C:\fmnet\scripts\train.py", "cohort.positive=a b"])
    assert typed == "python scripts/train.py 'cohort.positive=a b'"


def test_durations_have_a_unit_that_suits_them():
    assert [duration(s) for s in (7, 90, 7200)] == ["7 s", "1.5 min", "2.0 h"]
