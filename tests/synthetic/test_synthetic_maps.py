import inspect
import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnet.data.grid import Grid
from fmnet.data.template import build_grid
from fmnet.errors import CohortError
from fmnet.synthetic import cohort_folder
from fmnet.synthetic import maps as synthetic_maps
from fmnet.synthetic.design import MOTION_SD_MM, Design, draw_participants, motion_in_sd
from fmnet.synthetic.effects import Region, depth_in_mm
from fmnet.synthetic.maps import (
    LATER_EFFECT,
    REGIONS,
    draw_maps,
    effect_pattern,
    expected_difference,
    read_synthetic,
    write_cohort,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_cohort.py"
VOXEL_SIZE_MM = 9  # grid of 16 x 20 x 18


@dataclass
class Made:
    root: Path
    people: pd.DataFrame
    maps: np.ndarray  # (N, C, X, Y, Z)
    truth: np.ndarray  # (C, X, Y, Z)

    @property
    def is_patient(self):
        return (self.people["group"] == "FM").to_numpy()


@pytest.fixture(scope="module")
def grid() -> Grid:
    return build_grid(VOXEL_SIZE_MM)


def as_written(path):
    """Read a map of fmnet's own, which is RAS+, with 0 where it has no data."""
    return np.asarray(nib.load(path).dataobj, dtype=np.float32)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Write a cohort and read it back; the same parameters are written once."""
    folder = tmp_path_factory.mktemp("cohorts")

    def make(**parameters):
        parameters = {"n_subjects": 6, "voxel_size_mm": VOXEL_SIZE_MM} | parameters
        listing = read_synthetic(folder, **parameters)
        maps = [[as_written(file) for file in scan.files] for scan in listing.scans]
        root = listing.scans[0].files[0].parents[2]
        truth = [
            as_written(root / f"truth/contrast-{name}_desc-truth_statmap.nii.gz")
            for name in listing.contrasts
        ]
        people = pd.read_csv(root / "participants.tsv", sep="\t")
        assert list(people["participant_id"]) == [scan.participant_id for scan in listing.scans]
        return Made(root, people, np.array(maps), np.array(truth))

    return make


def in_memory(grid: Grid, **parameters):
    design = Design(**parameters)
    table_seed, map_seed = np.random.SeedSequence(design.seed).spawn(2)
    people = draw_participants(design, table_seed)
    return people, np.stack(list(draw_maps(design, grid, people, map_seed)))


def test_the_tree_is_listed_without_faults(tmp_path):
    listing = read_synthetic(
        tmp_path, n_subjects=7, voxel_size_mm=12, contrasts=["visual", "pressure"]
    )
    assert listing.faults == ()
    assert listing.origin == "synthetic"
    assert listing.contrasts == ("visual", "pressure")
    assert listing.stat == "z"
    assert sorted(scan.label for scan in listing.scans) == ["FM"] * 4 + ["HC"] * 3
    assert {scan.space for scan in listing.scans} == {"MNI152NLin2009aSym"}


def test_the_tree_says_what_it_is(make):
    root = make().root
    assert (root / "README").read_text().splitlines()[0].startswith("SYNTHETIC")
    assert "nobody was scanned" in (root / "README").read_text().splitlines()[0]
    description = json.loads((root / "dataset_description.json").read_text())
    assert description["Name"] == "fmnet synthetic cohort"
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Parameters"]["n_subjects"] == 6
    columns = json.loads((root / "participants.json").read_text())
    assert list(columns) == list(pd.read_csv(root / "participants.tsv", sep="\t"))[1:]


def test_maps_lie_on_the_template_grid_with_zero_outside(make, grid):
    made = make()
    image = nib.load(next(made.root.rglob("sub-*_statmap.nii.gz")))
    assert np.allclose(image.affine, grid.affine)
    assert made.maps.shape == (6, 1, 16, 20, 18)
    assert (made.maps[..., ~grid.mask] == 0).all()
    assert (made.maps[..., grid.mask] != 0).all()


def test_defaults_are_stated_alike():
    parameters = inspect.signature(read_synthetic).parameters
    defaults = {
        name: parameters[name].default for name in Design().parameters if name != "contrasts"
    }
    assert {**defaults, "contrasts": ["pressure"]} == Design().parameters
    assert parameters["contrasts"].default is None


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    parameters = {"n_subjects": 4, "voxel_size_mm": 12, "jitter_mm": 3.0, "site_shift": 1.0}
    roots = [
        write_cohort(tmp_path / name, seed=seed, **parameters)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    files = [sorted(p.relative_to(root) for p in root.rglob("*.*")) for root in roots]
    assert files[0] == files[1] == files[2]
    for file in files[0]:
        if (roots[0] / file).is_file():
            assert (roots[0] / file).read_bytes() == (roots[1] / file).read_bytes()
    for file in files[0]:
        if file.match("sub-*_statmap.nii.gz"):
            first, other = (nib.load(root / file).get_fdata() for root in (roots[0], roots[2]))
            assert not np.array_equal(first, other)


def test_cohorts_of_other_parameters_do_not_collide_and_the_same_are_reused(tmp_path):
    parameters = {"n_subjects": 4, "voxel_size_mm": 12}
    first = read_synthetic(tmp_path, effect_size=1, **parameters).scans[0].files[0]
    written = first.stat().st_mtime_ns
    again = read_synthetic(tmp_path, effect_size=1.0, **parameters).scans[0].files[0]
    other = read_synthetic(tmp_path, effect_size=1.5, **parameters).scans[0].files[0]
    assert again == first
    assert again.stat().st_mtime_ns == written
    assert other != first


def test_background_has_sd_one_between_persons_at_every_depth(grid):
    people, maps = in_memory(grid, n_subjects=300, effect_size=0.0)
    sd = maps[:, 0].std(axis=0)
    rim = depth_in_mm(grid) <= min(grid.voxel_size_mm)
    assert sd[grid.mask].mean() == pytest.approx(1, abs=0.03)
    assert sd[grid.mask & rim].mean() == pytest.approx(1, abs=0.05)
    # With 300 people each voxel's SD is uncertain by 4 %; none may fall out of line.
    assert np.abs(sd[grid.mask] - 1).max() < 0.25
    assert len(people) == 300


def test_background_is_as_smooth_as_asked(grid):
    def neighbour_correlation(**parameters):
        _, maps = in_memory(grid, n_subjects=40, effect_size=0.0, **parameters)
        field = maps[:, 0] - maps[:, 0].mean(axis=0)
        both = grid.mask[1:] & grid.mask[:-1]
        return np.corrcoef(field[:, 1:][:, both].ravel(), field[:, :-1][:, both].ravel())[0, 1]

    assert neighbour_correlation(smoothness_mm=4.0) < neighbour_correlation(smoothness_mm=16.0)
    assert neighbour_correlation(smoothness_mm=16.0) > 0.7


def test_opposite_sides_of_the_brain_are_independent(grid):
    _, maps = in_memory(grid, n_subjects=200, effect_size=0.0)
    sides = maps[:, 0, 0], maps[:, 0, -1]
    inside = grid.mask[0] & grid.mask[-1]
    left, right = (side[:, inside] - side[:, inside].mean(axis=0) for side in sides)
    assert abs((left * right).mean()) < 0.15


def test_a_large_effect_shows_where_it_was_planted(make, grid):
    made = make(n_subjects=16, effect_size=12.0)
    difference = made.maps[made.is_patient].mean(axis=0) - made.maps[~made.is_patient].mean(axis=0)
    found, truth = difference[0][grid.mask], made.truth[0][grid.mask]
    assert np.corrcoef(found, truth)[0, 1] > 0.8
    assert found[truth > 5].mean() > 5
    assert found[truth < -5].mean() < -5


def test_only_patients_carry_the_effect_and_the_rest_is_paired(make, grid):
    without, planted = make(effect_size=0.0), make(effect_size=4.0)
    assert without.people.equals(planted.people)
    assert (without.truth == 0).all()
    assert np.array_equal(
        without.maps[~without.is_patient],
        planted.maps[~planted.is_patient],
    )
    added = (planted.maps - without.maps)[planted.is_patient]
    assert np.allclose(added, planted.truth, atol=1e-5)
    assert np.allclose(planted.truth[0], 4 * effect_pattern(grid) * grid.mask, atol=1e-6)


def test_regions_are_in_the_brain_and_carry_their_direction(make):
    fine = build_grid(4)
    pattern = effect_pattern(fine)
    table = pd.read_csv(make().root / "truth/regions.tsv", sep="\t")
    assert len(table) == len(REGIONS)
    for row in table.itertuples():
        nearest = np.linalg.inv(fine.affine) @ [row.x_mm, row.y_mm, row.z_mm, 1]
        voxel = tuple(np.rint(nearest[:3]).astype(int))
        assert fine.mask[voxel], row.region
        assert pattern[voxel] * {"up": 1, "down": -1}[row.direction] > 0.8
        assert row.hemisphere == {-1: "left", 0: "midline", 1: "right"}[np.sign(row.x_mm)]


def test_right_is_right(tmp_path, monkeypatch):
    only = Region("somewhere", "right", (38.0, -24.0, 20.0), 1)
    monkeypatch.setattr(synthetic_maps, "REGIONS", (only,))
    root = write_cohort(
        tmp_path / "one", n_subjects=6, voxel_size_mm=VOXEL_SIZE_MM, effect_size=60.0
    )
    people = pd.read_csv(root / "participants.tsv", sep="\t")
    patient = people.loc[people["group"] == "FM", "participant_id"].iloc[0]
    files = [next((root / patient).rglob("*.nii.gz")), next((root / "truth").glob("*.nii.gz"))]
    for file in files:
        image = nib.load(file)
        peak = np.unravel_index(image.get_fdata().argmax(), image.shape)
        peak_mm = (image.affine @ [*peak, 1])[:3]
        assert np.abs(peak_mm - only.centre_mm).max() <= VOXEL_SIZE_MM / 2


def test_jitter_moves_each_patient_and_widens_the_truth(grid):
    parameters = {"n_subjects": 120, "effect_size": 5.0}
    _, without = in_memory(grid, **parameters | {"effect_size": 0.0})
    people, moved = in_memory(grid, jitter_mm=9.0, **parameters)
    added = (moved - without)[people["group"] == "FM"][:, 0]
    fixed, wide = (
        expected_difference(Design(jitter_mm=jitter, **parameters), grid)[0]
        for jitter in (0.0, 9.0)
    )
    assert wide.max() < 0.6 * fixed.max()
    assert added[:, grid.mask].std(axis=0).max() > 0.5
    mean = added.mean(axis=0)[grid.mask]
    errors = [np.linalg.norm(mean - expected[grid.mask]) for expected in (wide, fixed)]
    assert errors[0] < 0.5 * errors[1]
    assert (moved == without)[people["group"] == "HC"].all()


def test_contrasts_share_half_of_the_background_and_the_effect_is_weaker_later(make, grid):
    names = ["pressure", "visual"]
    _, maps = in_memory(grid, n_subjects=60, effect_size=0.0, contrasts=names)
    centred = (maps - maps.mean(axis=0))[..., grid.mask]
    correlation = np.corrcoef(centred[:, 0].ravel(), centred[:, 1].ravel())[0, 1]
    assert correlation == pytest.approx(0.5, abs=0.05)
    both, one = make(contrasts=names), make()
    assert np.array_equal(both.maps[:, :1], one.maps)
    assert np.allclose(both.truth[1], LATER_EFFECT * both.truth[0])


def test_each_site_adds_its_own_pattern(make, grid):
    parameters = {"n_subjects": 13, "n_sites": 3}
    without, shifted = make(**parameters), make(site_shift=2.0, **parameters)
    sites = shifted.people["site"]
    added = (shifted.maps - without.maps)[:, 0][:, grid.mask]
    patterns = [added[sites == site] for site in ("site-1", "site-2", "site-3")]
    for pattern in patterns:
        assert np.allclose(pattern, pattern[0], atol=1e-5)
        assert 1.0 < np.sqrt((pattern[0] ** 2).mean()) < 3.0
    assert (
        np.abs(np.corrcoef([pattern[0] for pattern in patterns])[np.triu_indices(3, 1)]).max() < 0.5
    )
    counts = pd.crosstab(sites, shifted.people["group"])
    assert (counts.max() - counts.min() <= 1).all()


def test_motion_follows_group_and_map_only_if_asked(make, grid):
    without, moving = make(n_subjects=12), make(n_subjects=12, motion_effect=1.5)
    fd = "mean_framewise_displacement"
    more = (moving.people[fd] - without.people[fd]).to_numpy()
    assert np.allclose(more, 1.5 * MOTION_SD_MM * moving.is_patient, atol=2e-4)
    added = (moving.maps - without.maps)[:, 0][:, grid.mask]
    z = motion_in_sd(moving.people[fd].to_numpy())
    rim = (added / (1.5 * z[:, None])).mean(axis=0)
    assert np.allclose(added, 1.5 * z[:, None] * rim, atol=1e-4)
    assert rim.max() == pytest.approx(1, abs=1e-3)
    assert 0 <= rim.min() < 0.1
    assert np.array_equal(moving.truth, without.truth)


def test_missing_coverage_takes_a_slab_from_the_share_asked_for(grid):
    people, whole = in_memory(grid, n_subjects=120)
    _, cut = in_memory(grid, n_subjects=120, missing_coverage=0.25)
    lost = (whole != 0) & (cut == 0)
    slices = lost.any(axis=(1, 2, 3))  # (N, Z)
    lacking = slices.any(axis=1)
    assert lacking.sum() == 30
    assert np.array_equal(cut[~lost], whole[~lost])
    for person in slices[lacking]:
        gone = np.flatnonzero(person)
        assert gone[0] == 0 or gone[-1] == 17
        assert 0.10 * 18 - 0.5 <= len(gone) <= 0.25 * 18 + 0.5
        assert len(gone) == gone[-1] - gone[0] + 1
    assert slices[:, 0].any()
    assert slices[:, -1].any()
    is_patient = (people["group"] == "FM").to_numpy()
    assert 0.25 < is_patient[lacking].mean() < 0.75


def test_missing_slabs_are_read_as_no_data(make, grid):
    made = make(n_subjects=4, missing_coverage=0.5)
    zero = (made.maps[:, 0][:, grid.mask] == 0).any(axis=1)
    assert zero.sum() == 2


@given(
    n_subjects=st.integers(4, 80),
    n_sites=st.integers(1, 5),
    motion_effect=st.floats(0, 3),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=40, deadline=None)
def test_people_are_balanced(n_subjects, n_sites, motion_effect, seed):
    n_sites = min(n_sites, n_subjects // 2)
    design = Design(n_subjects=n_subjects, n_sites=n_sites, motion_effect=motion_effect, seed=seed)
    people = draw_participants(design, np.random.SeedSequence(seed))
    groups = people["group"].value_counts()
    assert groups["FM"] - groups["HC"] == n_subjects % 2
    assert people["participant_id"].is_unique
    counts = pd.crosstab(people["site"], people["group"]).to_numpy()
    assert counts.shape == (n_sites, 2)
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert counts.sum(axis=1).max() - counts.sum(axis=1).min() <= 1
    assert people["pain_score"].between(0, 100).all()
    assert people["age"].between(18, 75).all()
    assert (people["mean_framewise_displacement"] > 0).all()


def test_people_look_like_those_of_fibromyalgia_studies():
    people = draw_participants(Design(n_subjects=1000), np.random.SeedSequence(1))
    by_group = people.groupby("group")
    pain, age = by_group["pain_score"].mean(), by_group["age"].mean()
    assert pain["FM"] == pytest.approx(55, abs=2)
    assert pain["HC"] == pytest.approx(8, abs=2)
    assert abs(age["FM"] - age["HC"]) < 0.5
    assert (people["sex"] == "F").mean() > 0.8
    motion = by_group["mean_framewise_displacement"].mean()
    assert abs(motion["FM"] - motion["HC"]) < 0.2 * MOTION_SD_MM
    assert abs(np.corrcoef(people.index, people["group"] == "FM")[0, 1]) < 0.1


def test_all_knob_faults_come_at_once(tmp_path):
    bad = {
        "n_subjects": 3,
        "effect_size": float("nan"),
        "jitter_mm": -1.0,
        "contrasts": ["pressure", "pressure"],
        "n_sites": 0,
        "site_shift": float("inf"),
        "motion_effect": -0.1,
        "smoothness_mm": 0.0,
        "missing_coverage": 1.0,
        "voxel_size_mm": 13,
        "seed": -1,
    }
    with pytest.raises(CohortError, match="11 faults") as caught:
        read_synthetic(tmp_path / "new", **bad)
    assert {fault.where for fault in caught.value.faults} == {f"cohort.{name}" for name in bad}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("n_subjects", 10.0),
        ("n_subjects", True),
        ("seed", "0"),
        ("effect_size", "large"),
        ("contrasts", "pressure"),
        ("contrasts", []),
        ("contrasts", ["a_b"]),
        ("contrasts", ["../x"]),
        ("contrasts", 3),
        ("n_sites", 21),
    ],
)
def test_a_knob_out_of_range_is_named(knob, value):
    with pytest.raises(CohortError, match=rf"cohort\.{knob}: found"):
        Design(**{knob: value})


@given(
    effect_size=st.one_of(st.integers(-3, 3), st.floats(-3, 3)),
    seed=st.integers(0, 2**70),
    contrasts=st.lists(st.sampled_from(["a", "b", "C1"]), min_size=1, unique=True),
)
def test_digest_depends_on_values_only(effect_size, seed, contrasts):
    design = Design(effect_size=effect_size, seed=seed, contrasts=contrasts)
    same = Design(effect_size=float(effect_size), seed=seed, contrasts=tuple(contrasts))
    assert design.digest == same.digest
    assert Design(**json.loads(json.dumps(design.parameters))).digest == design.digest
    assert (
        Design(effect_size=effect_size, seed=seed + 1, contrasts=contrasts).digest != design.digest
    )


SMALL = {"n_subjects": 4, "voxel_size_mm": 12}


def test_an_empty_folder_is_used_and_a_finished_one_is_kept(tmp_path):
    (tmp_path / "out").mkdir()
    root = write_cohort(tmp_path / "out", **SMALL)
    file = next(root.rglob("sub-*_statmap.nii.gz"))
    written = file.stat().st_mtime_ns
    assert write_cohort(tmp_path / "out", contrasts=None, **SMALL) == root
    assert file.stat().st_mtime_ns == written


def test_a_cohort_of_an_earlier_version_is_kept(tmp_path):
    root = write_cohort(tmp_path / "out", **SMALL)
    description = root / "dataset_description.json"
    description.write_text(description.read_text().replace("Parameters", "Knobs"))
    assert write_cohort(root, **SMALL) == root
    with pytest.raises(CohortError, match="holds something else"):
        write_cohort(root, **SMALL, seed=1)


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CohortError, match="mine: found a folder that holds something else"):
        write_cohort(tmp_path / "mine", **SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(CohortError, match="file: found a file of that name"):
        write_cohort(tmp_path / "file", **SMALL)


def test_another_or_damaged_cohort_is_refused(tmp_path):
    root = write_cohort(tmp_path / "out", **SMALL)
    with pytest.raises(CohortError, match="the finished cohort of the same parameters"):
        write_cohort(root, seed=1, **SMALL)
    next(root.rglob("sub-*_statmap.nii.gz")).unlink()
    with pytest.raises(CohortError, match="holds something else"):
        write_cohort(root, **SMALL)


def test_a_damaged_description_is_refused(tmp_path):
    root = write_cohort(tmp_path / "out", **SMALL)
    (root / "dataset_description.json").write_text('{"Name": "fmnet synth')
    with pytest.raises(CohortError, match="holds something else"):
        write_cohort(root, **SMALL)


def test_what_a_killed_run_left_is_not_trusted(tmp_path):
    left = tmp_path / ".out-0123.part"
    maps = left / "sub-synthetic001" / "func"
    maps.mkdir(parents=True)
    (maps / "sub-synthetic001_contrast-pressure_stat-z_statmap.nii.gz").write_bytes(b"half")
    root = write_cohort(tmp_path / "out", **SMALL)
    assert len(list(root.rglob("sub-*_statmap.nii.gz"))) == 4
    assert all(nib.load(file).get_fdata().any() for file in root.rglob("sub-*_statmap.nii.gz"))
    half = tmp_path / "half"
    left.rename(half)
    with pytest.raises(CohortError, match="half: found a folder that holds something else"):
        write_cohort(half, **SMALL)


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt("stopped")

    monkeypatch.setattr(synthetic_maps, "expected_difference", stop)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        write_cohort(tmp_path / "out", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other_seed", [0, 1])
def test_a_run_that_was_slower_takes_the_same_cohort_and_no_other(
    tmp_path, monkeypatch, other_seed
):
    keep_folder = cohort_folder.keep_folder

    def keep_after_another_has(draft, target):
        monkeypatch.setattr(cohort_folder, "keep_folder", keep_folder)
        write_cohort(target, **SMALL, seed=other_seed)
        keep_folder(draft, target)

    monkeypatch.setattr(cohort_folder, "keep_folder", keep_after_another_has)
    if other_seed:
        with pytest.raises(CohortError, match="holds something else"):
            write_cohort(tmp_path / "out", **SMALL)
    else:
        write_cohort(tmp_path / "out", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_a_plain_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CohortError, match="found Not a directory; accepted: a folder that can be"):
        write_cohort(tmp_path / "file" / "out", **SMALL)


def run_script(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit, match=r"\d") as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return caught.value.code


def test_the_script_writes_a_cohort_and_says_it_is_synthetic(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    parameters = ("--n-subjects", 5, "--voxel-size-mm", 12, "--contrasts", "pressure", "visual")
    assert run_script(monkeypatch, out, *parameters, "--effect-size", 1.5) == 0
    line = capsys.readouterr().out
    assert str(out) in line
    assert "SYNTHETIC" in line
    assert line.count("\n") == 1
    stated = json.loads((out / "dataset_description.json").read_text())
    assert stated["GeneratedBy"][0]["Parameters"]["effect_size"] == 1.5
    assert len(list(out.rglob("sub-*_statmap.nii.gz"))) == 10


def test_the_script_reports_faults_plainly(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert run_script(monkeypatch, out, "--n-subjects", 2, "--missing-coverage", 1) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--n-subjects: found 2" in printed.err
    assert "--missing-coverage: found 1.0" in printed.err
    assert not out.exists()
