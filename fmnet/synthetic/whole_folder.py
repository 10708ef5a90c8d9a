"""Folders that appear under their name only once all that belongs in them is written."""

from collections.abc import Callable
from pathlib import Path

from fmnet.data.files import draft_folder, keep_folder, why_not_written
from fmnet.errors import CohortError, Fault


def provide_folder(
    root: Path, write: Callable[[Path], None], is_same: Callable[[Path], bool]
) -> Path:
    """Write a cohort's folder, or leave the one that is there if it holds the same.

    Parameters
    ----------
    root : Path
        The folder; may be missing, empty, or hold the same cohort.
    write : callable
        Writes the cohort into a folder that it makes.
    is_same : callable
        Tells whether a folder holds this very cohort, finished and complete.

    Raises
    ------
    CohortError
        If the folder holds anything else or can't be written.
    """
    try:
        if not _is_free(root):
            _check_same(root, is_same)
            return root
        _write_whole(root, write, is_same)
    except OSError as error:
        found = why_not_written(error, root)
        accepted = "a folder that can be written, with room for the cohort"
        raise CohortError(Fault(str(root), found, accepted, "choose another folder")) from error
    return root


def _is_free(root: Path) -> bool:
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def _check_same(root: Path, is_same: Callable[[Path], bool]) -> None:
    if is_same(root):
        return
    found = "a file of that name" if root.is_file() else "a folder that holds something else"
    accepted = "a new or empty folder, or one with the finished cohort of the same knobs"
    action = "choose another folder, or remove what is there if nobody needs it"
    raise CohortError(Fault(str(root), found, accepted, action))


def _write_whole(
    root: Path, write: Callable[[Path], None], is_same: Callable[[Path], bool]
) -> None:
    """Write next to `root` and rename, so that the name appears only once the tree is whole."""
    target = root.resolve()
    with draft_folder(target) as draft:
        write(draft)
        try:
            keep_folder(draft, target)
        except OSError:  # another run may have been faster
            if _is_free(target):
                raise
            _check_same(target, is_same)
