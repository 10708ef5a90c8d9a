"""What pages of all studies share: heading, navigation, facts of the run, methods, provenance."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from fmnet.data.cohort import Cohort
from fmnet.errors import printable
from fmnet.inference.study_results import say_p
from fmnet.report.methods import mean_sd, volumes_words
from fmnet.report.run_facts import run_facts
from fmnet.report.sentences import banners, name_of, stopped, with_interval

#: Sections that every page ends with: id and what the navigation calls it.
ACCOUNT = {"left-out": "Left out", "methods": "Methods", "tripod": "TRIPOD+AI"}


def render_page(
    heading: str,
    sections: Mapping[str, str],
    parts: Sequence[str],
    metrics: Mapping[str, Any],
    cohort: Cohort,
    settings: Mapping[str, Any],
    folder: Path,
    **values: Any,
) -> str:
    """Write a page, from its heading to the account of who was left out.

    Parameters
    ----------
    heading : str
        What the study is about.
    sections : dict of str
        What the navigation calls each of the page's own sections, by id.
    parts : sequence of str
        Templates of those sections, in order, within this package.
    metrics, settings : dict
        What ``metrics.json`` and ``config.yaml`` hold.
    cohort : Cohort
        Of the study.
    folder : Path
        The run's, whose ``manifest.json`` says when and how it was made.
    **values
        What the parts read; ``methods`` and ``tripod`` among them.
    """
    table = cohort.table()
    page = page_template("report.html.j2", metrics["titles"]).render(
        heading=heading,
        sections={**sections, **ACCOUNT},
        parts=[*parts, "parts/account.html.j2"],
        metrics=metrics,
        banners=banners(cohort.listing, settings),
        run_facts=run_facts(cohort, settings, folder),
        left_out=table[table["used"] == "no"].to_dict("records"),
        set_aside=table[table["used"] == "lock-box"].to_dict("records"),
        notes=table[table["notes"] != ""].to_dict("records"),
        **values,
    )
    return "\n".join(map(printable, page.split("\n")))  # it may be read in a terminal


def page_template(name: str, titles: Mapping[str, str]) -> Any:
    """Find a page's template, in which models are named by `titles`, and all text is escaped."""
    environment = Environment(
        loader=PackageLoader("fmnet.report", package_path=""),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "model": partial(name_of, titles=titles),
        "stopped": stopped,
        "p_cell": lambda p: say_p(p).removeprefix("p ").removeprefix("= "),  # its heading says p
    }
    for word in (with_interval, mean_sd, volumes_words):
        environment.globals[word.__name__] = word
    return environment.get_template(name)
