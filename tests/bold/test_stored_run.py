import hashlib
import json

import pytest

from fmnet.bold.stored_run import RunFacts, open_run, write_facts
from fmnet.data.self_hashed import seal, unseal

FACTS = RunFacts(
    2.0, 5, 3, "<i2", 1.0, 0.0, (7, 8, 9), ((1.0, 0, 0, 0),) * 4, "MNI152", 1.0, "", "a", "b"
)


HASHES = {".npy": hashlib.sha256(b"x" * 30).hexdigest()}


def write(path, **changes):
    path.write_bytes(b"x" * 30)
    write_facts(FACTS, path)
    sidecar = path.with_suffix(".json")
    facts = unseal(sidecar.read_bytes()) | {"sizes": {".npy": 30}, "hashes": HASHES} | changes
    sidecar.write_text(json.dumps(seal(facts)))


def test_facts_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "a.npy"
    write(path)
    run = open_run(path, None)
    assert run is not None
    assert run.facts == RunFacts(**{**FACTS.__dict__, "sizes": {".npy": 30}, "hashes": HASHES})


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "0"},
        {"sizes": {".npy": 31}},
        {"sizes": {}},
        {"unknown": 1},
        {"hashes": {}},
        {"hashes": {".npy": "0" * 64}},
    ],
)
def test_run_of_another_format_or_size_is_none(tmp_path, changes):
    path = tmp_path / "a.npy"
    write(path, **changes)
    assert open_run(path, None) is None


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("2.0", "2.1"), lambda text: text[:-3]]
)
def test_facts_that_were_altered_are_none(tmp_path, change):
    path = tmp_path / "a.npy"
    write(path)
    sidecar = path.with_suffix(".json")
    sidecar.write_text(change(sidecar.read_text()))
    assert open_run(path, None) is None


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"shape": 3, "affine": 3}'])
def test_damaged_facts_are_none(tmp_path, content):
    path = tmp_path / "a.npy"
    write(path)
    path.with_suffix(".json").write_text(content)
    assert open_run(path, None) is None
