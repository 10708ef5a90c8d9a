"""Write a page and a table of runs side by side: ``comparison.html`` and ``comparison.tsv``."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
from matplotlib.figure import Figure

import fmnet
from fmnet.data.files import write_atomically
from fmnet.data.tables import write_table
from fmnet.errors import Fault, OutputError, printable
from fmnet.inference.card_shell import POLICY
from fmnet.inference.study_results import figure, say_p
from fmnet.report.compared_runs import ComparedRun, Reached, find_runs
from fmnet.report.drawing import DARK, GREY, POSITIVE, Drawn, Picture, as_svg, drawn_as, plain
from fmnet.report.run_differences import best_of, differing_settings, paired_groups, paired_tests
from fmnet.report.run_facts import without_home
from fmnet.report.sentences import BANNERS, capital, control, count, name_of
from fmnet.report.shell import page_template

PAGE, TABLE = "comparison.html", "comparison.tsv"
#: So many settings stand beside the figures; more of them have a table of their own.
FEW = 4
#: Of runs whose scores can't be paired with those of others.
UNPAIRED = "other people, scans or folds than any other run here: its figures stand by themselves"


class Panel(NamedTuple):
    """Runs with one question: their figures as a table, and drawn."""

    question: str
    heads: list[str]
    rows: list[tuple[str, list[str]]]
    picture: Picture


def write_comparison(places: Sequence[Path], out: Path) -> list[str]:
    """Compare finished runs on a page, ``comparison.html``, and in a table, ``comparison.tsv``.

    Parameters
    ----------
    places : sequence of Path
        Run folders, and folders of runs, as of a sweep.
    out : Path
        Folder of the two files, in place of those of an earlier call.

    Returns
    -------
    list of str
        What was found, in a few lines for the terminal.

    Raises
    ------
    RunError
        See `fmnet.report.compared_runs.find_runs`.
    OutputError
        If the files can't be written.
    """
    runs, left_out = find_runs(places)
    settings = differing_settings([run.settings for run in runs])
    groups = paired_groups(runs)
    shared = [_shared(group) for group in groups]
    shown = {key: [without_home(one) for one in values] for key, values in settings.items()}
    content = {TABLE: _table(runs, shown, groups), PAGE: ""}
    unpaired = [run for run in runs if not any(run in group for group in groups)]
    page = page_template("comparison.html.j2", {}).render(
        runs=[_run_row(run, out) | {"number": number} for number, run in enumerate(runs)],
        few=shown if len(shown) <= FEW else {},
        settings=_across(runs, shown) if len(shown) > FEW else None,
        panels=[_panel(question, own) for question, own in _by_question(runs).items()],
        shared=shared,
        unpaired=[(run.name, UNPAIRED if not run.target else "") for run in unpaired],
        left_out=[without_home(str(fault)) for fault in left_out],
        notes=_notes(runs),
        banners=_banners(runs),
        policy=POLICY,
        version=fmnet.__version__,
    )
    content[PAGE] = "\n".join(map(printable, page.split("\n")))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            write_atomically(out / name, text)
    except OSError as error:
        found, accepted = error.strerror or str(error), "a folder that can be written"
        raise OutputError(Fault(str(out), found, accepted, "name another by --out")) from error
    return [
        f"{count(len(runs), 'run')}; {count(len(settings), 'setting')} differ",
        *(f"  {key}: {' | '.join(values)}" for key, values in list(shown.items())[:8]),
        *(f"  {run.name}: {run.primary['title']} {_say(run.corrected)}, {run.title(run.exported)}"
          for run in runs),
        *(one["best"] for one in shared if one["best"]),
        *(f"left out: {fault}" for fault in left_out),
        str(out / PAGE),
        str(out / TABLE),
    ]  # fmt: skip


def _by_question(runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    found: dict[str, list[ComparedRun]] = {}
    for run in runs:
        found.setdefault(run.question, []).append(run)
    return found


def _run_row(run: ComparedRun, out: Path) -> dict[str, Any]:
    """Say of a run what the page's first table holds, and its verdict."""
    record, report = run.record, run.folder / "report.html"
    n_people, n_scans = run.metrics["n_subjects"], run.metrics["n_scans"]
    own = os.path.relpath(report, out.resolve()) if report.is_file() else ""
    return {
        "name": run.name,
        "link": quote(Path(own).as_posix()),
        "people": f"{n_people}" if n_people == n_scans else f"{n_people} ({n_scans} scans)",
        "exported": run.title(run.exported),
        "reached": _say(run.corrected),
        "figure": run.primary["title"],
        "p": _say_p(run.p),
        "red": run.red,
        "verdict": run.verdict,
        "made": f"{str(record.get('started', ''))[:10]}, fmnet {_version(run)}".lstrip(", "),
    }


def _banners(runs: Sequence[ComparedRun]) -> dict[str, list[str]]:
    """Gather by what a reader has to know before any figure the names of the runs it is about."""
    found: dict[str, list[str]] = {}
    for run in runs:
        reader = str(run.settings.get("cohort", {}).get("_target_", "")).rsplit(".", 1)[-1]
        origin = next((one for one in BANNERS if one in reader), "")
        said = " ".join(filter(None, [BANNERS.get(origin, ""), control(run.settings)]))
        if said:
            found.setdefault(said, []).append(run.name)
    return found


def _version(run: ComparedRun) -> str:
    return str(run.record.get("versions", {}).get("fmnet", "of unknown version"))


def _notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Say what else than settings differs between runs, where figures may owe something to it."""
    said = {
        "sets of scans": "data_sha256",
        "versions of fmnet's code": "code_sha256",
        "devices": "device",
    }
    counted = {what: {str(run.record.get(key)) for run in runs} for what, key in said.items()}
    return [f"{len(found)} {what}" for what, found in counted.items() if len(found) > 1]


def _across(
    runs: Sequence[ComparedRun], settings: dict[str, list[str]]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Lay out settings by run with the longer of the two downwards."""
    names = [run.name for run in runs]
    if len(settings) > len(runs):
        return ["setting", *names], list(settings.items())
    rows = [(name, [values[n] for values in settings.values()]) for n, name in enumerate(names)]
    return ["run", *settings], rows


def _panel(question: str, runs: Sequence[ComparedRun]) -> Panel:
    """Lay out what models of runs with one question reached; the longer goes downwards."""
    titles: dict[str, str] = {}
    for run in runs:
        for name in run.metrics["models"]:  # the network may be another one in each run
            is_same = titles.setdefault(name, run.title(name)) == run.title(name)
            titles[name] = titles[name] if is_same else name_of(name)
    models = list(dict.fromkeys(name for run in runs for name in run.metrics["models"]))
    names = [run.name for run in runs]
    picture = draw_runs(runs)
    if len(models) >= len(runs):
        rows = [(titles[name], [_say(run.reached(name)) for run in runs]) for name in models]
        return Panel(capital(question), ["model", *names], rows, picture)
    by_run = [(run.name, [_say(run.reached(name)) for name in models]) for run in runs]
    return Panel(capital(question), ["run", *(titles[name] for name in models)], by_run, picture)


def _shared(group: Sequence[ComparedRun]) -> dict[str, Any]:
    """Say how the networks of runs on the same scans and folds differ from that of the first."""
    found = best_of(group)
    best = ""
    if found is not None:
        run, corrected = found
        best = (
            f"The largest AUC of these {len(group)} networks, {_say(run.reached(run.studied))}, is "
            f"that of {run.name}. Corrected for having been chosen among them it is "
            f"{_say(corrected)}, which is the figure to report if it is taken for that."
        )
    return {
        "first": group[0].name,
        "names": [run.name for run in group],
        "best": best,
        "rows": [
            {
                "name": row["name"],
                "difference": f"{row['difference']:+z.2f}"
                + ("" if row["ci"] is None else f" [{row['ci'][0]:+z.2f}, {row['ci'][1]:+z.2f}]"),
                "p": _say_p(row["p"]),
            }
            for row in paired_tests(group)
        ],
    }


def _say(reached: Reached) -> str:
    """Write a figure with its interval; a dash for what isn't known."""
    if reached.value is None:
        return "-"
    if reached.low is None or reached.high is None:
        return f"{reached.value:.2f}"
    return figure(reached.value, (reached.low, reached.high))


def _say_p(p: float | None) -> str:
    return "not tested" if p is None else say_p(p).removeprefix("p ").removeprefix("= ")


def _table(
    runs: Sequence[ComparedRun],
    settings: dict[str, list[str]],
    groups: Sequence[Sequence[ComparedRun]],
) -> str:
    """Write one row for each run, with a column for each setting that differs and each model."""
    rows = []
    for number, run in enumerate(runs):
        shared = next((n for n, group in enumerate(groups, start=1) if run in group), None)
        row: dict[str, Any] = {
            "run": run.name,
            "question": run.question,
            "figure": run.primary["name"],
            "n_subjects": run.metrics["n_subjects"],
            "n_scans": run.metrics["n_scans"],
            "same_scans_and_folds": shared,
            "exported": run.exported,
            **_columns("value", run.corrected),
            "p": run.p,
            "n_red": len(run.red),
            "started": run.record.get("started"),
            "fmnet": run.record.get("versions", {}).get("fmnet"),
            "code_sha256": run.record.get("code_sha256"),
            "data_sha256": run.record.get("data_sha256"),
        }
        row |= {f"setting.{key}": one[number] for key, one in settings.items()}
        for model in run.metrics["models"]:
            row |= _columns(f"model.{model}", run.reached(model))
        rows.append(row | {"verdict": " ".join(run.verdict.split())})
    table = pd.DataFrame(rows)
    order = [name for name in table if name != "verdict"]
    text = io.StringIO()
    write_table(table[[*order, "verdict"]], text, for_people=True)
    return text.getvalue()


def _columns(name: str, reached: Reached) -> dict[str, float | None]:
    ends = ("", "_low", "_high")
    return {f"{name}{end}": one for end, one in zip(ends, reached, strict=True)}


@drawn_as(as_svg)
def draw_runs(runs: Sequence[ComparedRun]) -> Drawn:
    """Draw what the network, the best linear model and the exported model of each run reached.

    `runs` have one question.
    """
    panels = {
        "network": [run.reached(run.studied) for run in runs],
        "best linear model": [run.reached(run.linear) for run in runs],
        "exported, corrected": [run.corrected for run in runs],
    }
    panels = {
        title: own for title, own in panels.items() if any(one.value is not None for one in own)
    }
    primary, n = runs[0].primary, len(runs)
    figure_ = Figure(figsize=(9.0, 1.3 + 0.34 * n), layout="constrained")
    every = figure_.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
    for axes, (title, found) in zip(every, panels.items(), strict=True):
        for row, (value, low, high) in enumerate(found):
            if value is None:
                continue
            color = POSITIVE if title == "network" else DARK
            if low is not None:
                axes.plot([low, high], [row, row], color=color, lw=2, solid_capstyle="butt")
            axes.plot(value, row, "o", color=color, ms=6, clip_on=False)
        axes.axvline(primary["chance"], color=GREY, ls=":", lw=1)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    every[0].set_yticks(range(n), [plain(run.name, 28) for run in runs])
    every[0].set_ylim(n - 0.5, -0.5)
    figure_.supxlabel(f"{plain(primary['title'])}, out of fold, 95 % interval", fontsize=9)
    said = "; ".join(
        f"{run.name}: " + ", ".join(f"{title} {_say(own[n])}" for title, own in panels.items())
        for n, run in enumerate(runs)
    )
    return figure_, f"{primary['title']} of each run: {said}.", "runs"
