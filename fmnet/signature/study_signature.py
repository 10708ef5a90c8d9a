"""The signature of a study: its maps, whether they are to be believed, and their files."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.crossval.fold_loop import Pipeline
from fmnet.data.grid import Grid
from fmnet.data.nifti import write_volume
from fmnet.data.signature_map import Description
from fmnet.data.tables import write_table
from fmnet.data.volume import Volume
from fmnet.errors import ConfigError, Fault, FmnetError, RunError
from fmnet.inference.bundle_files import sha256_of
from fmnet.inference.signature_files import REGIONS
from fmnet.inference.study_people import write_people
from fmnet.inference.study_results import can_tell
from fmnet.progress.show import step
from fmnet.runs.final_models import LINEAR_FOLDER, NETWORK_FOLDER
from fmnet.runs.record import Results
from fmnet.runs.run_folder import as_json, read_json, write_run_folder
from fmnet.signature.agreement import agreement_of_halves
from fmnet.signature.judge import Check, check_above_chance, check_p, is_believed, not_examined
from fmnet.signature.map_agreement import count_pairs
from fmnet.signature.published import compare_with_published, read_published
from fmnet.signature.regions import Atlas, coordinate_regions, name_places, read_atlas
from fmnet.signature.studied import StudiedModel, studied_model
from fmnet.signature.study_maps import MapMaker, StudyMaps, Threshold, maps_of_series
from fmnet.signature.tables import CLUSTER_COLUMNS, cluster_table, region_table
from fmnet.types import NETWORK, Count, NonNegativeCount, Several

#: Folder of a run, and in it the file that says what is in the others.
FOLDER, RECORD = "signature", "signature.json"
#: Why halves of a network that is trained by gradients aren't told from chance.
UNTRAINED = (
    "each order of the labels takes two trainings; signature.n_trained_permutations=20 makes them"
)
#: The same of models that learn many orders of the labels at once.
UNTESTED = "signature.n_permutations_of_halves is too small for a small p-value; 59 is usual"
#: Which map is summed up by region and set beside published ones: the first that there is.
SUMMED: tuple[Description, ...] = ("weights", "surrogate")
#: Tables that are written as files too.
TABLES = ("clusters", "regions", "published")


@dataclass(frozen=True)
class SignaturePlan:
    """How the regions that carry a model are looked for, and what is asked before they are shown.

    Parameters
    ----------
    n_permutations : int
        Orders of the labels that the map is tested against; 0 for no z map.
    n_halves : int
        Ways of cutting the cohort in two whose maps are compared.
    n_permutations_of_halves : int
        Orders of the labels that this agreement is compared with.
    n_trained_permutations : int
        The same for a network trained by gradients, which learns both halves anew for each; with
        fewer than 20 its halves are compared, but can't be told from chance, and no map is drawn.
    n_random_maps : int
        Random maps that the likeness to published ones is compared with.
    n_regions : int
        Regions by coordinates, where there is no atlas.
    threshold : {"fwe", "cluster", "fdr"}
        What a voxel has to survive to be drawn in the thresholded map.
    maps : dict, optional
        Published maps by name, files on any grid in MNI space.
    atlas, atlas_labels : str, optional
        Regions and their names, see `fmnet.signature.regions.read_atlas`.
    force : bool
        Whether a map is drawn that isn't to be believed; it is marked as such wherever it goes.
    """

    n_permutations: NonNegativeCount = 200
    n_halves: Count = 5
    n_permutations_of_halves: NonNegativeCount = 59
    n_trained_permutations: NonNegativeCount = 0
    n_random_maps: Several = 1000
    n_regions: Several = 100
    threshold: Threshold = "fwe"
    maps: Mapping[str, str] | None = None
    atlas: str | None = None
    atlas_labels: str | None = None
    force: bool = False


def check_plan(plan: SignaturePlan, grid: Grid) -> None:
    """Read the atlas and the published maps once, before anything is trained.

    Raises
    ------
    ConfigError
        With all that is wrong with them.
    """
    faults: list[Fault] = []
    if plan.atlas_labels and not plan.atlas:
        accepted, action = "labels of an atlas that is named too", "set signature.atlas"
        faults.append(
            Fault("signature.atlas_labels", "no signature.atlas beside it", accepted, action)
        )
    asked = (partial(choose_regions, plan, grid), partial(read_published, plan.maps or {}, grid))
    for read in asked:
        try:
            read()
        except FmnetError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)


def choose_regions(plan: SignaturePlan, grid: Grid) -> Atlas:
    """Take the regions of the atlas that was named, or else regions by coordinates."""
    if plan.atlas:
        return read_atlas(plan.atlas, plan.atlas_labels, grid)
    regions = coordinate_regions(grid, plan.n_regions)
    return Atlas(regions, name_places(regions, grid))


def make_signature(
    plan: SignaturePlan, pipeline: Pipeline, results: Results, facts: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Look for the regions that carry the exported model, and write what may be shown of them.

    Parameters
    ----------
    plan : SignaturePlan
        What is asked.
    pipeline : Pipeline
        Of the study.
    results : Results
        Of its cross-validation.
    facts : dict
        The study's figures so far; the exported model is among them.
    folder : Path
        Of the run; the signature gets a folder in it.

    Returns
    -------
    dict
        Plain values: ``model``, ``title``; ``is_drawn``, ``is_forced``; ``checks``, see `Check`;
        ``halves``, ``folds`` (agreement); and where a map is drawn what its files hold.
    """
    asked = digest(plan, facts, folder)
    if (done := _read_done(folder, asked)) is not None:
        return done
    studied = studied_model(pipeline, results, facts, folder)
    figures = facts["models"][studied.name]
    n_permutations = facts.get("permutation", {}).get("n", 0)
    above = check_above_chance(facts["exported"], figures, n_permutations)
    checks, facts_of = [above], dict[str, Any]()
    with step("signature", 3, "step") as advance:
        atlas = choose_regions(plan, studied.data.grid)
        halves = agreement_of_halves(
            studied.model, studied.data, studied.seed, plan.n_halves,
            plan.n_permutations_of_halves, atlas.regions, plan.n_trained_permutations,
        )  # fmt: skip
        if (pair := halves.pop("maps", None)) is not None:
            halves["histogram"] = count_pairs(*pair)
        facts_of["halves"] = halves
        checks.append(check_halves(halves, studied.takes_gradients))
        advance()
        made = None
        if studied.reads_series:
            made = maps_of_series(studied) if plan.force else None
        elif plan.force or is_believed(checks):
            scores = _out_of_fold_scores(studied, results)
            asked_of = (atlas, scores, plan.threshold, plan.n_permutations)
            try:
                made = MapMaker(studied, *asked_of).make()
            except FmnetError as error:  # a network without gradients
                facts_of["reason"] = "; ".join(fault.found for fault in error.faults)
            else:
                checks += made.checks
                facts_of |= made.facts
                advance()
                facts_of |= _tables(plan, made, atlas, studied)
                advance()
    is_stable = made is not None and is_believed(checks)
    found = {
        "asked": asked,
        "model": studied.name,
        "title": studied.title,
        "is_drawn": is_stable or (plan.force and made is not None),
        "is_forced": plan.force and not is_stable,
        "failed": [check.name for check in checks if check.passed is False],
        "checks": {check.name: check.as_facts() for check in checks},
        "n_regions": len(atlas.names),
        "atlas": plan.atlas or "coordinates",
        "atlas_note": atlas.note,
    } | facts_of
    _write(folder, found, made if found["is_drawn"] else None, studied, atlas)
    return found


def _tables(
    plan: SignaturePlan, made: StudyMaps, atlas: Atlas, studied: StudiedModel
) -> dict[str, Any]:
    """Sum maps up by clusters and regions, and set them beside published ones."""
    labels = studied.data.cohort.listing.labels
    words = (f"speaks for {labels.positive}", f"speaks for {labels.negative}")
    shown = next(made.maps[name] for name in SUMMED if name in made.maps)
    tables = {"regions": region_table(shown, atlas, words)}
    if "thresholded" in made.maps:
        tables["clusters"] = cluster_table(
            made.maps["thresholded"], 0.0, atlas, made.p_values, words
        )
    if plan.maps:
        published = read_published(plan.maps, studied.data.grid)
        tables["published"] = compare_with_published(
            shown, published, plan.n_random_maps, studied.seed
        )
    return {name: _rows(table) for name, table in tables.items()}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table in plain values, what isn't known as None."""
    known = table.astype(object).where(table.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in known.to_dict("records")]


def check_halves(halves: Mapping[str, Any], takes_gradients: bool) -> Check:
    """Ask whether halves agree beyond permuted labels, if there were enough of these to tell."""
    if "reason" in halves:
        return not_examined("halves", halves["reason"])
    found = halves["voxel_r"]
    null = float(np.mean(found["null"]))
    # random maps are too lenient a null: null halves of one study look alike
    if halves["null_from"] == "spatial" or not can_tell(halves["n_permutations"]):
        reason = UNTRAINED if takes_gradients else UNTESTED
        return Check("halves", None, found["observed"], null, reason=reason)
    return check_p("halves", found["observed"], null, found["p"])


def _out_of_fold_scores(studied: StudiedModel, results: Results) -> NDArray[np.float64]:
    """Take the scores of the first repeat: (N,), NaN for scans that are in no test fold."""
    rows = results.predictions
    is_own = (rows["model"] == studied.name) & (rows["repeat"] == studied.folds[0].repeat)
    scores = rows[is_own].groupby("scan_id")["score"].mean()
    scans = [scan.scan_id for scan in studied.data.cohort.scans]
    return scores.reindex(scans).to_numpy(float)


def _write(
    folder: Path,
    found: dict[str, Any],
    made: StudyMaps | None,
    studied: StudiedModel,
    atlas: Atlas,
) -> None:
    """Write what is known, and the maps where they may be drawn."""
    grid = studied.data.grid

    def write(draft: Path) -> None:
        if made is not None:
            outcomes = {name: one["outcome"] for name, one in found["checks"].items()}
            marks = {"Stable": not found["is_forced"], "Checks": outcomes}
            for one in made.maps.values():
                replace(one, about={**one.about, **marks}).write(draft)
            for name in TABLES:
                if name in found:
                    columns = CLUSTER_COLUMNS if name == "clusters" else None  # there may be none
                    write_table(pd.DataFrame(found[name], columns=columns), draft / f"{name}.tsv")
            if made.people:
                write_people(made.people, draft)
            regions = Volume(atlas.regions[None].astype(np.float32), grid.affine, grid.space)
            write_volume(regions, draft / REGIONS)
            sidecar = draft / REGIONS.replace(".nii.gz", ".json")
            sidecar.write_text(as_json(atlas.sidecar(grid)), "utf-8")
        (draft / RECORD).write_text(as_json(found), "utf-8")

    write_run_folder(folder, FOLDER, write)


def digest(plan: SignaturePlan, facts: Mapping[str, Any], folder: Path) -> str:
    """Hash all that a signature depends on: what is asked, with its files, and the model."""
    name = facts["exported"]["model"]
    own = folder / (NETWORK_FOLDER if name == NETWORK else LINEAR_FOLDER)
    weights = sha256_of(own / "weights.safetensors")
    exported = {key: facts["exported"].get(key) for key in ("model", "auc_corrected_ci", "p")}
    named = filter(None, (plan.atlas, plan.atlas_labels, *(plan.maps or {}).values()))
    files = [sha256_of(Path(one)) for one in named if Path(one).is_file()]
    text = json.dumps([asdict(plan), exported, weights, files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_done(folder: Path, asked: str) -> dict[str, Any] | None:
    """Read the signature that a run has already; None if it is of something else."""
    with suppress(RunError):
        found = read_json(folder / FOLDER / RECORD)
        return found if found.get("asked") == asked else None
    return None
