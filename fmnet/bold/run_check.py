"""What is checked of a preprocessed run before its volumes are read."""

from fmnet.bold.bold_file import open_bold
from fmnet.bold.bold_run import check_run
from fmnet.bold.cleaning import cleaning_faults
from fmnet.bold.confounds import Nuisance, read_nuisance
from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.settings import CleaningSettings
from fmnet.errors import Fault, VolumeError


def check_preprocessed(run: PreprocessedRun, settings: CleaningSettings) -> Nuisance:
    """Check image, mask, repetition time, confounds and settings against each other.

    Raises
    ------
    VolumeError
        With every fault; those of the confounds only if the image has a header that tells how many
        volumes they are for.
    """
    faults: list[Fault] = []
    t_r = None
    try:
        with check_run(run.bold, needs_mask=False) as checked:
            n_volumes, t_r = checked.header.n_volumes, checked.t_r
    except VolumeError as error:
        faults += error.faults
        n_volumes = _count_volumes(run, faults)
    try:
        nuisance = read_nuisance(run, n_volumes, settings)
    except VolumeError as error:
        raise VolumeError([*faults, *error.faults]) from error
    if t_r is not None:
        faults += cleaning_faults(nuisance, t_r, settings, str(run.bold.path))
    if faults:
        raise VolumeError(faults)
    return nuisance


def _count_volumes(run: PreprocessedRun, faults: list[Fault]) -> int:
    """Count the volumes of a run whose mask or repetition time is wrong; else raise `faults`."""
    try:
        with open_bold(run.bold.path) as file:
            return file.header.n_volumes
    except VolumeError as error:
        raise VolumeError(faults) from error
