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
        (folder / "clusters.tsv").write_text("contrast\tpeak\n")
        for name in more:
            (folder / name).unlink()

    write_run_folder(run_dir, "signature", write)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished.run_dir, tmp_path / "run")


def test_bundle_holds_maps_regions_and_ranges_but_no_people(run, tmp_path):
    write_signature(run)
    export_run(str(run), str(tmp_path / "bundle"), "network", n_check=1)
    bundle = read_bundle(tmp_path / "bundle")
    names = {path.name for path in (bundle.folder / "signature").iterdir()}
    stems = [
        f"contrast-{contrast}_space-MNI152_desc-{name}_statmap"
        for contrast in ("pressure", "visual")
        for name in ("weights", "z")
    ]
    assert names == {
        "signature.json", "regions_dseg.nii.gz", "reference_people.json", "clusters.tsv",
        *(f"{stem}.nii.gz" for stem in stems), *(f"{stem}.json" for stem in stems),
    }  # fmt: skip
    everything = b"".join(path.read_bytes() for path in (bundle.folder / "signature").iterdir())
    assert b"sub-01" not in everything
    assert b"/home/someone" not in everything
    assert bundle.signature.is_stable
    assert bundle.signature.files == tuple(sorted(f"signature/{name}" for name in names))
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "## Which regions carry it\n\nChecks passed: the model is above chance; " in card
    assert "disjoint halves of the cohort agree. Not examined: without its voxels" in card
    scan = read_run_scans(run, 1)[0]
    assert explain_scan(bundle, scan).map.description == "contribution"


def test_hashes_of_the_folder_are_checked_with_sha256sum(run, tmp_path):
    write_signature(run)
    export_run(str(run), str(tmp_path / "bundle"), "network", n_check=1)
    lines = (tmp_path / "bundle" / "SHA256SUMS").read_text().splitlines()
    names = [line.split("  ")[1] for line in lines]
    assert "signature/signature.json" in names
    assert names == sorted(names)


def test_signature_that_is_not_stable_leaves_its_reason_alone(run, tmp_path):
    write_signature(run, FACTS | {"is_drawn": False, "failed": ["halves"]})
    export_run(str(run), str(tmp_path / "bundle"), "network", n_check=1)
    bundle = read_bundle(tmp_path / "bundle")
    assert not bundle.signature.is_stable
    assert bundle.signature.failed == ("halves",)
    assert bundle.signature.files == ("signature/signature.json",)
    said = "**No stable signature: it did not hold that disjoint halves of the cohort agree.**"
    assert said in (bundle.folder / "MODEL_CARD.md").read_text()


def test_signature_that_was_forced_is_not_stable(run):
    write_signature(run, FACTS | {"is_forced": True, "failed": ["deletion"]})
    gathered = gather_signature(run, "network")
    assert not gathered.facts["is_stable"]
    assert set(gathered.files) == {"signature.json"}


@pytest.mark.parametrize("is_there", [True, False])
def test_signature_of_another_model_stays_behind(run, tmp_path, is_there):
    if is_there:
        write_signature(run, FACTS | {"model": "linear_svm"})
    assert gather_signature(run, "network") == (None, {})
    export_run(str(run), str(tmp_path / "bundle"), "network", n_check=1)
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.signature is None
    assert not (bundle.folder / "signature").exists()
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "## Which regions carry it\n\nNot recorded: " in card


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
    assert stability_words(False, ["new_check"], {}) == (
        "no stable signature: it did not hold that new check"
    )
