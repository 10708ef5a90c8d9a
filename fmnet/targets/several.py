"""Several targets at once, each known of some people: ``target=several``."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import normal_text
from fmnet.errors import ConfigError, Fault
from fmnet.evaluation.shared_signature import shared_sentences
from fmnet.inference.links import Link, SeveralLinks
from fmnet.networks.heads import Head
from fmnet.networks.several_heads import SeveralHead
from fmnet.targets.base import Meaning, Null, Primary, Said, Target
from fmnet.targets.sentences import ALPHA, answer, beside, stated

#: Fewest scans of a stratum; smaller ones are told apart by fewer of the targets.
FEWEST = 6


@dataclass(frozen=True)
class Several(Target):
    """Several targets at once; whoever is known for one of them is studied.

    One network has the scores of all. Each is learned from those of whom its outcome is known, and
    each target counts alike in the loss of networks trained by gradients.

    Parameters
    ----------
    targets : dict of Target
        By name, two or more. People may lack any of the outcomes (n/a), or not be among those that
        a target is about (its `among`).
    """

    kind: ClassVar[str] = "several"
    title: ClassVar[str] = "several outcomes at once"

    targets: Mapping[str, Target]

    def __post_init__(self) -> None:
        faults = []
        if len(self.targets) < 2:
            found, action = f"{len(self.targets)} of them", "use it as the study's target"
            faults.append(Fault("target.targets", found, "two or more", action))
        for name, one in self.targets.items():
            where = f"target.targets.{name}"
            if not name.isidentifier() or "__" in name:
                action = "choose another name: it becomes part of names of columns"
                faults.append(Fault(where, f"'{name}'", "letters, digits and single _", action))
            if type(one).exchanged is not Target.exchanged or one.is_within:
                found = f"target={one.kind}, whose null hypothesis exchanges something of its own"
                action = "study it by itself"
                faults.append(Fault(where, found, "targets of whole outcomes", action))
        if faults:
            raise ConfigError(faults)

    # --- parts ------------------------------------------------------------------------------------

    def outcomes_for(self, name: str, outcomes: Outcomes) -> Outcomes:
        """Take the outcomes of one target, of all scans."""
        prefix = f"{name}."
        own = {
            role.removeprefix(prefix): values
            for role, values in outcomes.values.items()
            if role.startswith(prefix)
        }
        return replace(outcomes, values=own)

    def known_for(self, name: str, outcomes: Outcomes) -> NDArray[np.bool_]:
        """Tell of which scans the outcome of one target is known, (N,)."""
        return self.targets[name].is_known(self.outcomes_for(name, outcomes))

    def columns_of(self, name: str) -> list[int]:
        """Find the scores of one target among all."""
        ends = np.cumsum([0, *(one.n_scores for one in self.targets.values())])
        number = list(self.targets).index(name)
        return list(range(int(ends[number]), int(ends[number + 1])))

    def rows_for(self, name: str, rows: pd.DataFrame) -> pd.DataFrame:
        """Take the rows of an out-of-fold table that one target is known for, in its own words."""
        target = self.targets[name]
        mine = {f"outcome_{name}.": "outcome_", f"{name}_": ""}
        scores = {f"score_{self._score_name(name, one)}": one for one in target.score_names}
        renamed = {
            column: own if own == "score" else f"score_{own}" for column, own in scores.items()
        }
        held, others = {}, [f"outcome_{one}." for one in self.targets]
        for column in rows.columns:
            if column.startswith("score"):
                if column in renamed:
                    held[renamed[column]] = rows[column]
            elif prefix := next((one for one in mine if column.startswith(one)), ""):
                held[mine[prefix] + column.removeprefix(prefix)] = rows[column]
            elif not any(column.startswith(one) for one in others):
                held[column] = rows[column]
        own = pd.DataFrame(held)
        names = [str(column) for column in own if str(column).startswith("outcome_")]
        roles = {column.removeprefix("outcome_"): own[column] for column in names}
        values = {role: column.to_numpy(float) for role, column in roles.items()}
        none = ("",) * len(own)
        known = target.is_known(Outcomes(values, none, none, none))
        return own[known]

    def _score_name(self, name: str, score: str) -> str:
        return name if score == "score" else f"{name}_{score}"

    # --- what is read -----------------------------------------------------------------------------

    @property
    def columns(self) -> dict[str, str]:
        """Columns of all, ``NAME.ROLE``, and those that say whom each is about."""
        found: dict[str, str] = {}
        for name, one in self.targets.items():
            found |= {f"{name}.{role}": column for role, column in one.columns.items()}
            found |= {f"{name}.among.{column}": column for column in one.restrictions}
        return found

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Read each target from those it is about."""
        values: dict[str, Numbers] = {}
        faults: list[Fault] = []
        read = {}
        for name, one in self.targets.items():
            is_about = np.ones(len(texts), bool)
            for column, accepted in one.restrictions.items():
                wanted = [normal_text(str(text)) for text in accepted]
                is_about &= texts[column].isin(wanted).to_numpy()
            read[name], own, found = one.read(texts[is_about].reset_index(drop=True))
            for role, numbers in own.items():
                values[f"{name}.{role}"] = np.full(len(texts), np.nan)
                values[f"{name}.{role}"][is_about] = numbers
            faults += [replace(fault, where=f"{name}: {fault.where}") for fault in found]
        return replace(self, targets=read), values, faults

    def is_known(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """Tell of whom at least one outcome is known."""
        known = np.stack([self.known_for(name, outcomes) for name in self.targets])
        return np.asarray(known.any(axis=0))

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find what the people of each target lack."""
        return [
            replace(fault, where=f"{name}: {fault.where}")
            for name, one in self.targets.items()
            for fault in one.check(self._known(name, outcomes))
        ]

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find what the training people of each target lack."""
        return [
            fault
            for name, one in self.targets.items()
            for fault in one.check_training(self._known(name, train), f"{where}, {name}")
        ]

    def _known(self, name: str, outcomes: Outcomes) -> Outcomes:
        return self.outcomes_for(name, outcomes).take(self.known_for(name, outcomes))

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Join the strata of all; of the first targets alone where some would have few scans."""
        each = []
        for name, one in self.targets.items():
            known = np.flatnonzero(self.known_for(name, outcomes))
            own = np.full(len(outcomes), "n/a", dtype=object)
            own[known] = one.strata(self.outcomes_for(name, outcomes).take(known))
            each.append(own)
        found = [list(map(str, parts)) for parts in zip(*each, strict=True)]
        for n in range(len(each), 1, -1):
            counts = Counter(tuple(parts[:n]) for parts in found if len(parts) == n)
            small = {whole[:-1] for whole, count in counts.items() if count < FEWEST}
            found = [
                parts[: n - 1] if len(parts) == n and tuple(parts[: n - 1]) in small else parts
                for parts in found
            ]
        return [" ".join(parts) for parts in found]

    # --- what is learned --------------------------------------------------------------------------

    @property
    def score_names(self) -> tuple[str, ...]:
        """Name the scores of all: ``NAME``, or ``NAME_SCORE`` where a target has several."""
        return tuple(
            self._score_name(name, score)
            for name, one in self.targets.items()
            for score in one.score_names
        )

    def head(self) -> Head:
        """Put the heads of all side by side."""
        return SeveralHead(list(self.targets), [one.head() for one in self.targets.values()])

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Learn each from the training scans that it is known for; each counts alike."""
        responses, losses = [], []
        for name, one in self.targets.items():
            known = np.flatnonzero(self.known_for(name, outcomes))
            own = self.outcomes_for(name, outcomes).take(known)
            of_train = np.flatnonzero(np.isin(known, train))
            null = one.fit_null(own, of_train)
            response = np.full((len(outcomes), null.responses.shape[1]), np.nan, np.float32)
            response[known] = null.responses
            responses.append(response)
            loss = np.full((len(outcomes), 2 + null.losses.shape[1]), np.nan, np.float32)
            loss[:, 0] = 0
            loss[known, 0] = len(train) / (len(self.targets) * max(len(of_train), 1))
            balance = one.head().balance(torch.from_numpy(null.losses[of_train]))
            loss[:, 1] = float(balance) if balance.numel() == 1 else 1.0
            loss[known, 2:] = null.losses
            losses.append(loss)
        sizes = np.array([one.shape[1] - 2 for one in losses], np.float32)
        every = [np.tile(sizes, (len(outcomes), 1)), *losses]
        return Null(np.concatenate(responses, axis=1), np.concatenate(every, axis=1))

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> Link:
        """Learn what the scores of each mean."""
        links, columns = [], []
        for name, one in self.targets.items():
            known = np.flatnonzero(self.known_for(name, outcomes))
            own = self.columns_of(name)
            links.append(one.fit_link(scores[known][:, own], self._known(name, outcomes)))
            columns.append(own)
        return SeveralLinks(list(self.targets), columns, links)

    # --- how it is judged -------------------------------------------------------------------------

    @property
    def primary(self) -> Primary:
        """The mean over targets of how far each is from chance to a perfect model."""
        return Primary("mean_skill", "mean skill over the targets", 0.0)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute the figures of each, ``NAME_FIGURE``, and their ``mean_skill``.

        The skill in a target is ``(figure - chance) / (1 - chance)`` of its primary figure: 0 for a
        model that knows nothing, 1 for a perfect one.
        """
        found: dict[str, float] = {}
        skills = []
        for name, one in self.targets.items():
            own = one.figures(self.rows_for(name, rows))
            found |= {f"{name}_{figure}": value for figure, value in own.items()}
            skills.append(skill(one.primary, own[one.primary.name]))
        return {"mean_skill": float(np.mean(skills))} | found

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Collect the details of each, and how the scores go together over people."""
        names = [f"score_{one}" for one in self.score_names]
        standard = rows.groupby(["repeat", "fold"])[names].transform(lambda own: own - own.mean())
        return {
            "targets": {
                name: one.details(self.rows_for(name, rows)) for name, one in self.targets.items()
            },
            "score_names": list(self.score_names),
            "score_correlations": standard.corr().to_numpy().tolist(),
            "n_known": {
                name: int(self.rows_for(name, rows)["participant_id"].nunique())
                for name in self.targets
            },
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Average the statistics of all, each counting by the root of its number of scans."""
        found, weights = [], []
        for name, one in self.targets.items():
            known = np.flatnonzero(self.known_for(name, outcomes))
            own = self.outcomes_for(name, outcomes).take(known)
            columns = self.columns_of(name)
            found.append(one.statistic(scores[known][:, columns], own, fold[known]))
            weights.append(np.sqrt(len(known)))
        return float(np.average(found, weights=weights))

    # --- what is said -----------------------------------------------------------------------------

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """What the outputs of each mean, ``NAME_OUTPUT``."""
        return tuple(
            replace(meaning, name=f"{name}_{meaning.name}")
            for name, one in self.targets.items()
            for meaning in one.meanings
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say who was studied for each."""
        parts = [
            f"{name}: {one.summary(self._known(name, outcomes))}"
            for name, one in self.targets.items()
        ]
        return f"{len(set(outcomes.participants))} people; " + "; ".join(parts)

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say how far each is predicted, what it gains by the others, and what they share."""
        said = [answer(facts, self.primary, "scans tell something of these outcomes")]
        own = facts["models"][facts["studied"]]
        for name, target in self.targets.items():
            title, figure = f"{name}: {target.primary.title}", f"{name}_{target.primary.name}"
            said.append(Said(stated(own, Primary(figure, title, target.primary.chance))))
        said += beside(facts, self.primary)
        found = facts.get("several") or {}
        for row in found.get("gains", []):
            said.append(_said_gain(row))
        if transfer := found.get("transfer"):
            said += [Said(text) for text in shared_sentences(transfer)]
        return said

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """List the items of each target, and how missing outcomes were handled."""
        missing = (
            "Each outcome was learned from, and tested in, the people it was known for; none was "
            "imputed."
        )
        details = facts.get("details", {}).get(facts["studied"], {}).get("targets", {})
        own = [("11", "Missing data", missing)]
        for name, one in self.targets.items():
            mine = {**facts, "details": {facts["studied"]: details.get(name, {})}}
            own += [(item, f"{name}: {asks}", text) for item, asks, text in one.tripod(mine)]
        return own

    def describe(self) -> dict[str, Any]:
        """Say what it is as plain values, with the same of each target."""
        each = {name: one.describe() for name, one in self.targets.items()}
        return super().describe() | {"targets": each}


def skill(primary: Primary, value: float) -> float:
    """Put a figure on the scale from chance, 0, to a perfect model, 1."""
    return (value - primary.chance) / (1 - primary.chance)


def _said_gain(row: Mapping[str, Any]) -> Said:
    """Say what a target gained by being learned together with the others."""
    if row["gain"] is None or row["ci"] is None:
        return Said(f"{row['task']}: what it gains by the other targets can't be told")
    low, high = row["ci"]
    verb = "neither gains nor loses by"
    if row["p_holm"] is not None and row["p_holm"] < ALPHA:
        verb = "gains by" if row["gain"] > 0 else "loses by"
    return Said(
        f"{row['task']} {verb} being learned together with the others: {row['figure']} "
        f"{row['gain']:+.3f} [{low:+.3f}, {high:+.3f}] beside its own model",
        "amber" if verb == "loses by" else "none",
    )
