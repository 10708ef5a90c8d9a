"""The work of one shard of a study, and what shards or earlier calls have done of it."""

import hashlib
from pathlib import Path
from typing import Any

from fmnet.crossval.fold_loop import Pipeline, crossvalidate, crossvalidate_seeds
from fmnet.crossval.outcome_permutation import run_outcome_permutations
from fmnet.crossval.permutation import (
    PERMUTATIONS,
    PermutationPlan,
    count_earlier,
    count_permutations,
    run_permutations,
)
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, folds_table
from fmnet.errors import ConfigError, Fault
from fmnet.runs.checkpoints import FoldCheckpoints, Shard, digest_of
from fmnet.runs.final_models import LINEAR_FOLDER, NETWORK_FOLDER
from fmnet.runs.record import code_hash, fixed_settings, table_text
from fmnet.runs.run_folder import list_damaged, read_sealed
from fmnet.training.compute import Compute
from fmnet.training.scan_set import ScanSet

#: Folder of the checkpoints of folds and permutations while results are still to come.
CHECKPOINTS = "parts"
#: Folders of the tables of reruns.
RERUNS = ("sensitivity", "learning_curve")
#: How many damaged files are named.
MOST_NAMED = 5


def checkpoints_of(
    folder: Path, config_yaml: str, cohort: Cohort, folds: list[Fold]
) -> FoldCheckpoints:
    """Give the checkpoints of these folds: others for other settings, code, maps or labels.

    Other weights that a network starts from are other settings, though in a file of the same name.
    """
    settings = fixed_settings(config_yaml)
    fixed = [*sorted(settings.items()), *map(_hash_of_weights, _networks(settings))]
    participants = [
        " ".join([scan.scan_id, scan.label, *(f"{value:.12g}" for _, value in scan.outcome)])
        for scan in cohort.scans
    ]
    text = "\n".join(
        [repr(fixed), code_hash(), *participants, *cohort.hashes, table_text(folds_table(folds))]
    )
    return FoldCheckpoints(folder / CHECKPOINTS / digest_of(text))


def _networks(settings: dict[str, Any]) -> list[Any]:
    further = (settings.get("models") or {}).values()
    return [settings.get("network"), *(one.get("network") for one in further)]


def _hash_of_weights(network: Any) -> str:
    """Hash the file of weights that a network's settings name; empty where they name none."""
    path = network.get("weights") if isinstance(network, dict) else None
    if not isinstance(path, str) or not Path(path).is_file():
        return ""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def done_before(
    pipeline: Pipeline,
    permutation: PermutationPlan,
    folds: list[Fold],
    checkpoints: FoldCheckpoints,
    folder: Path,
    is_resumed: bool,
) -> list[str]:
    """Say what shards, or earlier calls, have done of the work, and what of it is damaged."""
    # those of a run that has results and is replaced are not gone on with
    is_replaced = not is_resumed and (folder / "predictions.tsv").exists()
    own = () if is_replaced else (folder / PERMUTATIONS,)
    permuted = (*own, checkpoints.folder / PERMUTATIONS)
    done = {
        "folds": (len(folds) if is_resumed else checkpoints.count(folds), len(folds)),
        "permutations": (count_permutations(pipeline, permutation, *permuted), permutation.n),
    }
    lines = [
        f"{n} of {total} {name} were done before, by shards or an earlier call; "
        f"{total - n} were computed now"
        for name, (n, total) in done.items()
        if n
    ]
    if permutation.n and (n := count_earlier(*permuted)):
        lines.append(
            f"{n} permutations of an earlier version are not used: it made folds anew for each, "
            "and those of two schemes can't be mixed"
        )
    # what an earlier call has left that is damaged, and so is computed again
    folders = (checkpoints.folder, folder / PERMUTATIONS, *(folder / name for name in RERUNS))
    sealed = [
        path.relative_to(folder).as_posix()
        for one in folders
        for path in sorted(one.rglob("*.json"))
        if read_sealed(path, needs_seal=one != folder / PERMUTATIONS) is None
    ]
    listed = list_damaged(folder, (*RERUNS, NETWORK_FOLDER, LINEAR_FOLDER))
    names = [*sealed, *(name for name in listed if (folder / name).exists())]
    if names:
        said = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
        lines.append(f"found damaged, and computed again where it is asked for: {said}")
    return lines


def work_on_shard(
    shard: Shard,
    pipeline: Pipeline,
    data: ScanSet,
    folds: list[Fold],
    n_seeds: int,
    permutation: PermutationPlan,
    checkpoints: FoldCheckpoints,
    is_crossvalidated: bool,
) -> list[str]:
    """Compute one shard of the folds and permutations into `checkpoints`; say what was done."""
    n_folds = 0
    if not is_crossvalidated:
        own = shard.own(folds)
        again = shard.own([fold for fold in folds if fold.repeat == 0])
        if own:
            crossvalidate(pipeline, data, own, "folds", checkpoints)
        crossvalidate_seeds(pipeline, data, again, n_seeds, checkpoints)
        n_folds = len(own) + (n_seeds - 1) * len(again)
    if permutation.n:
        folder = checkpoints.folder / PERMUTATIONS
        run = run_permutations if data.target is None else run_outcome_permutations
        run(pipeline, data, permutation, folder, shard=shard)
    n_permutations = len(shard.own(range(permutation.n)))
    return [
        f"share {shard.index + 1} of {shard.n} is done: {n_folds} folds"
        f"{', further seeds counted' if n_seeds > 1 else ''}, {n_permutations} permutations",
        "when all are: give the command once more without shard, and with resume=true if the run "
        "was finished before",
    ]


def check_one_process(
    n_processes: int,
    plans: tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan],
    shard: Shard,
    compute: Compute,
    batch_size: int,
) -> None:
    """Refuse what takes many trainings where each training is shared by several processes.

    Raises
    ------
    ConfigError
        In a distributed run, with all that it can't do.
    """
    permutation, sensitivity, learning_curve = plans
    asked = {
        "permutation.n": permutation.n > 0,
        "sensitivity": sensitivity.is_asked_for,
        "learning_curve.fractions": bool(learning_curve.fractions),
        "shard.n": not shard.is_whole,
        "compute.n_jobs": compute.n_jobs != 1,
    }
    action = "run it apart, with trainer=gpu or trainer=cpu: results are those of the same pipeline"
    found = f"many trainings at once, where {n_processes} processes share each"
    faults = [
        Fault(key, found, "one device for each training", action)
        for key, is_asked in asked.items()
        if is_asked
    ]
    if batch_size < n_processes:
        accepted = f"at least {n_processes}, one scan for each process"
        action = "raise it, or use fewer devices"
        faults.append(Fault("batch_size", str(batch_size), accepted, action))
    if n_processes > 1 and faults:
        raise ConfigError(faults)
