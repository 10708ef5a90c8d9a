"""Checkpoints of a run that has no results yet: a file for each fold, whoever computed it."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pandas as pd

from fmnet.data.folds import Fold
from fmnet.errors import ConfigError, Fault
from fmnet.runs.run_folder import read_sealed, write_sealed
from fmnet.types import Count, NonNegativeCount

Unit = TypeVar("Unit")


@dataclass(frozen=True, eq=False)
class ScoredFold:
    """Scores of all models for the test subjects of one fold.

    `rows` are those of the out-of-fold table; `n_epochs` is the length of training chosen for the
    network, `further_epochs` that of each further network, by name.
    """

    rows: pd.DataFrame
    n_epochs: int
    further_epochs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Shard:
    """A part of the folds and permutations, for one of several machines or cluster jobs.

    Parameters
    ----------
    index : int
        Which of the shards: 0 to n - 1.
    n : int
        How many shards there are; 1 for a run that does everything by itself.
    """

    index: NonNegativeCount = 0
    n: Count = 1

    def __post_init__(self) -> None:
        if self.index >= self.n:
            raise ConfigError(
                Fault(
                    "shard.index",
                    f"{self.index}",
                    f"0 to {self.n - 1}, since shard.n is {self.n}",
                    "give each job an index of its own: -m 'shard.index=range(N)' shard.n=N",
                )
            )

    @property
    def is_whole(self) -> bool:
        """Tell whether there is no other shard."""
        return self.n == 1

    def own(self, units: Sequence[Unit]) -> list[Unit]:
        """Take every n-th unit."""
        return list(units[self.index :: self.n])


#: A run that does everything by itself.
WHOLE = Shard()


@dataclass(frozen=True)
class FoldCheckpoints:
    """Scored folds in a folder, which is another for other maps, labels, settings or code."""

    folder: Path

    def read(self, fold: Fold) -> ScoredFold | None:
        """Read a fold; None if it isn't done, or what is kept of it is damaged."""
        content = read_sealed(self._path(fold))
        if content is None:
            return None
        rows, further = pd.DataFrame(content["rows"]), content["further_epochs"]
        unknown = [name for name in rows if rows[name].isna().all()]
        return ScoredFold(rows.astype(dict.fromkeys(unknown, float)), content["n_epochs"], further)

    def write(self, fold: Fold, scored: ScoredFold) -> None:
        """Write a fold; its name appears only once it is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"n_epochs": scored.n_epochs, "further_epochs": dict(scored.further_epochs)}
        # null for an outcome that isn't known
        known = scored.rows.astype(object).where(scored.rows.notna(), None)
        content["rows"] = known.to_dict("records")
        write_sealed(content, self._path(fold))

    def count(self, folds: Sequence[Fold]) -> int:
        """Count the folds that are done."""
        return sum(self.read(fold) is not None for fold in folds)

    def below(self, name: str) -> "FoldCheckpoints":
        """Keep other folds apart from these."""
        return FoldCheckpoints(self.folder / name)

    def remove(self) -> None:
        """Remove all, once a run has results."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, fold: Fold) -> Path:
        return self.folder / f"repeat-{fold.repeat}_fold-{fold.fold}.json"


def digest_of(text: str) -> str:
    """Hash the text of what scores depend on: 12 digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
