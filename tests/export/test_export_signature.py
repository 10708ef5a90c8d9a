import json
import shutil

import numpy as np
import pytest
from signature_bundle_fixtures import planted_weights

from fmnet.data.nifti import write_volume
from fmnet.data.signature_map import SignatureMap
from fmnet.data.volume import Volume
from fmnet.errors import ExportError, RunError
from fmnet.export.export import export_run
from fmnet.export.run_scans import read_run_scans
from fmnet.export.signature import gather_signature, stability_words
from fmnet.inference.bundle import read_bundle
from fmnet.inference.explain import explain_scan
from fmnet.inference.model_card import model_card
from fmnet.inference.preparation import read_preparation
from fmnet.inference.signature_files import coordinate_boxes
from fmnet.inference.study_people import region_reference, write_people
from fmnet.runs.run_folder import write_run_folder

CHECKS = {
    "above_chance": {"outcome": "passed"},
    "halves": {"outcome": "passed"},
    "deletion": {"outcome": "not examined"},
}
FACTS = {
    "model": "network", "title": "small CNN", "is_drawn": True, "is_forced": False, "failed": [],
    "checks": CHECKS, "published": [{"path": "/home/someone/nps.nii.gz", "r": 0.2}],
}  # fmt: skip


def write_signature(run_dir, facts=FACTS, more=()):
    """Write what a study writes of its signature, with files that may name people among them."""
    preparation = read_preparation(run_dir / "model")
    grid = preparation.grid

    def write(folder):
        (folder / "signature.json").write_text(json.dumps(facts))
        if not facts["is_drawn"]:
            return
        for name in ("weights", "z"):
            SignatureMap(
                planted_weights(grid, 2), grid, preparation.contrasts, name, "score", "more", "CNN",
                "final", 24, {"Intercept": 0.0},
            ).write(folder)  # fmt: skip
        numbers, names = coordinate_boxes(grid, 60.0)
        image = grid.unmask(numbers.astype(np.float32))[None]
        write_volume(Volume(image, grid.affine, grid.space), folder / "regions_dseg.nii.gz")
        effects = np.zeros((4, len(names)))
        write_people(region_reference(effects, [0, 1, 0, 1], list(names), names), folder)
        (folder / "people.tsv").write_text("participant_id\tscore\nsub-01\t1.0\n")
        for name in ("clusters", "regions"):
            (folder / f"{name}.tsv").write_text("contrast\tpeak\n")
        for name in more:
            (folder / name).unlink()

    write_run_folder(run_dir, "signature", write)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished.run_dir, tmp_path / "run")


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """Export a run that found a signature."""
    root = tmp_path_factory.mktemp("exported")
    run_dir = shutil.copytree(finished.run_dir, root / "run")
    write_signature(run_dir)
    export_run(str(run_dir), str(root / "bundle"), "network", n_check=1)
    return read_bundle(root / "bundle")


def card_with(bundle, facts):
    return model_card(bundle.metadata | {"signature": facts}, bundle.contract)


def test_bundle_holds_maps_regions_and_ranges_but_no_people(exported, finished):
    names = {path.name for path in (exported.folder / "signature").iterdir()}
    stems = [
        f"contrast-{contrast}_space-MNI152_desc-{name}_statmap"
        for contrast in ("pressure", "visual")
        for name in ("weights", "z")
    ]
    assert names == {
        "signature.json", "regions_dseg.nii.gz", "reference_people.json", "clusters.tsv",
        "regions.tsv",
        *(f"{stem}.nii.gz" for stem in stems), *(f"{stem}.json" for stem in stems),
    }  # fmt: skip
    everything = b"".join(path.read_bytes() for path in (exported.folder / "signature").iterdir())
    assert b"sub-01" not in everything
    assert b"/home/someone" not in everything
    assert exported.signature.is_stable
    assert exported.signature.files == tuple(sorted(f"signature/{name}" for name in names))
    scan = read_run_scans(finished.run_dir, 1)[0]
    assert explain_scan(exported, scan).map.description == "contribution"


def test_card_says_which_checks_were_passed(exported):
    card = (exported.folder / "MODEL_CARD.md").read_text()
    assert "## Which regions carry it\n\nChecks passed: the model is above chance; " in card
    assert "disjoint halves of the cohort agree. Not examined: without its voxels" in card


def test_hashes_of_the_folder_stand_where_sha256sum_finds_them(exported):
    lines = (exported.folder / "SHA256SUMS").read_text().splitlines()
    names = [line.split("  ")[1] for line in lines]
    assert "signature/signature.json" in names
    assert names == sorted(names)
    assert all((exported.folder / name).is_file() for name in names)


def test_signature_that_is_not_stable_leaves_its_reason_alone(run, exported):
    write_signature(run, FACTS | {"is_drawn": False, "failed": ["halves"]})
    facts, files = gather_signature(run, "network")
    assert (facts["is_stable"], facts["failed"]) == (False, ["halves"])
    assert set(files) == {"signature.json"}
    said = (
        "**No stable signature: it did not hold that disjoint halves of the cohort agree. Also, it"
    )
    assert said in card_with(exported, facts)


def test_signature_that_was_forced_is_not_stable(run):
    write_signature(run, FACTS | {"is_forced": True, "failed": ["deletion"]})
    gathered = gather_signature(run, "network")
    assert not gathered.facts["is_stable"]
    assert set(gathered.files) == {"signature.json"}


def test_signature_of_another_model_stays_behind(run, bundle):
    write_signature(run, FACTS | {"model": "linear_svm"})
    assert gather_signature(run, "network") == (None, {})
    assert gather_signature(run, "linear_svm").facts["is_stable"]
    assert bundle.signature is None
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "## Which regions carry it\n\nNot recorded: " in card


def test_a_signature_of_before_the_run_was_gone_on_with_is_left_out(run):
    write_signature(run, FACTS | {"asked": "0123"})
    assert gather_signature(run, "network") == (None, {})  # metrics.json has no signature
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"signature": {"asked": "0123"}}))
    assert gather_signature(run, "network").facts["is_stable"]


def test_damaged_signature_is_not_exported(run):
    write_signature(run)
    (run / "signature" / "clusters.tsv").write_text("other")
    with pytest.raises(RunError, match=r"clusters\.tsv: found another content"):
        gather_signature(run, "network")


def test_signature_without_regions_is_not_exported(run):
    write_signature(run, more=("regions_dseg.nii.gz", "reference_people.json"))
    with pytest.raises(
        ExportError, match=r"no regions_dseg\.nii\.gz and no reference_people\.json"
    ):
        gather_signature(run, "network")


def test_stability_is_said_in_words():
    assert stability_words(False, [], {}) == "no stable signature"
    assert stability_words(True, [], CHECKS).startswith("checks passed: the model is above chance;")
    assert stability_words(False, [], {"halves": {"outcome": "not examined"}}) == (
        "no stable signature: it was not examined whether disjoint halves of the cohort agree"
    )
    assert stability_words(False, ["new_check"], {}) == (
        "no stable signature: it did not hold that new check"
    )
