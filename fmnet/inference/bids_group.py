"""The second stage of ``fmnet-predict`` as a BIDS App: a table and a page of all people."""

import io
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from fmnet.bold.bids_files import find_subjects
from fmnet.data.tables import say_some, subject_key, write_table
from fmnet.errors import ConfigError, Fault, OutputError, VolumeError
from fmnet.inference.bids_app import (
    ENDING,
    choose_labels,
    entities_of_file,
    read_result,
    write_result,
)
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_files import GROUP, open_cards
from fmnet.inference.options import request_of
from fmnet.inference.predict import Prediction, Request, failed, predictions_table
from fmnet.inference.results import about_signature, as_json, describe_columns
from fmnet.inference.table_results import asked_of

#: Name of the table, and of the file beside it that says what its columns are.
TABLE = "group_predictions"


def make_group(bundle: Bundle, options: Namespace) -> tuple[list[Prediction], Request, str]:
    """Gather all people's results into a table and a page; say who has none.

    Raises
    ------
    ConfigError
        If there are none, or of several signatures or requests, or of others than is asked for.
    OutputError
        If there are such a table and page already, and they may not be replaced.
    """
    out, columns = options.out_dir, bundle.columns
    paths = sorted(out.glob(f"sub-*/**/*{ENDING}.json"))
    if not paths:
        action = "predict first: the same command with participant in the place of group"
        raise ConfigError(Fault(str(out), "no results of people", "those of that stage", action))
    chosen = [paths[n] for n in choose_labels(list(map(entities_of_file, paths)), options)]
    predictions, asked = [], dict[str, dict[str, Any]]()
    for path in chosen:
        try:
            document, prediction = read_result(path, columns)
            asked[json.dumps(asked_of(document), sort_keys=True)] = asked_of(document)
        except VolumeError as error:
            prediction = failed(path.name.removesuffix(f"{ENDING}.json"), error.faults)
        predictions.append(prediction)
    request = _request_of_all(list(asked.values()), bundle, options)
    about = about_signature(bundle, request)
    written = [out / f"{TABLE}.tsv", out / f"{TABLE}.json", out / GROUP]
    if not options.overwrite and (there := [path.name for path in written if path.exists()]):
        found = f"results that are there already ({', '.join(there)})"
        action = "say --overwrite to replace them"
        raise OutputError(Fault(str(out), found, "none yet", action))
    table, text = predictions_table(predictions, columns), io.StringIO()
    table.insert(0, "participant_id", [f"sub-{entities_of_file(path)['sub']}" for path in chosen])
    write_table(table, text, for_people=True)
    write_result(written[0], text.getvalue())
    described = {**about, **describe_columns(about, columns)}
    del described["schema"]  # that of people's results, which describe no columns
    write_result(written[1], f"{as_json(described)}\n")
    names = [str(path.relative_to(out).with_suffix("")) for path in chosen]
    open_cards(bundle, out, request).write_group(predictions, names)
    there_are = {subject_key(entities_of_file(path)["sub"]) for path in paths}
    without = [one for one in find_subjects(options.bids_dir) if subject_key(one) not in there_are]
    note = ""
    if without and not options.participant_label:
        note = f"{len(without)} people of {options.bids_dir} have no results: {say_some(without)}"
    return predictions, request, note


def _request_of_all(
    asked: Sequence[Mapping[str, Any]], bundle: Bundle, options: Namespace
) -> Request:
    """Read what was asked for; `ConfigError` unless it was the same of everybody."""
    accepted = "results of one signature, request and version of fmnet"
    action = "predict all again, the same way: participant, with --overwrite"
    where = str(options.out_dir)
    if len(asked) > 1:
        differing = [name for name in asked[0] if len({str(one[name]) for one in asked}) > 1]
        found = f"results that differ in {', '.join(differing)}"
        raise ConfigError(Fault(where, found, accepted, action))
    own = asked_of(about_signature(bundle))
    if asked and asked[0]["signature"] != own["signature"]:
        action = "name the bundle that scored them"
        raise ConfigError(Fault(where, "results of another signature", accepted, action))
    stated = request_of(options, bundle)
    if not asked:
        return stated
    try:
        request = Request(**asked[0]["request"])
    except (TypeError, ConfigError) as error:
        raise ConfigError(Fault(where, "results with another request", accepted, action)) from error
    for option, value in (("prevalence", request.prevalence), ("level", request.level)):
        given = getattr(options, option)
        if given is not None and given != value:
            found = f"{given:g}, where people's results are for {value}"
            raise ConfigError(Fault(f"--{option}", found, accepted, f"leave it out, or {action}"))
    return request
