import json

import pytest

from fmnet.data.stored_run import RunFacts, open_run, write_facts

FACTS = RunFacts(
    2.0, 5, 3, "<i2", 1.0, 0.0, (7, 8, 9), ((1.0, 0, 0, 0),) * 4, "MNI152", 1.0, "", "a", "b"
)


def write(path, **changes):
    path.write_bytes(b"x" * 30)
    write_facts(FACTS, path)
    sidecar = path.with_suffix(".json")
    facts = json.loads(sidecar.read_text()) | {"sizes": {".npy": 30}} | changes
    sidecar.write_text(json.dumps(facts))


def test_facts_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "a.npy"
    write(path)
    run = open_run(path, None)
    assert run is not None
    assert run.facts == RunFacts(**{**FACTS.__dict__, "sizes": {".npy": 30}})


@pytest.mark.parametrize(
    "changes", [{"format": "0"}, {"sizes": {".npy": 31}}, {"sizes": {}}, {"unknown": 1}]
)
def test_run_of_another_format_or_size_is_none(tmp_path, changes):
    path = tmp_path / "a.npy"
    write(path, **changes)
    assert open_run(path, None) is None


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"shape": 3, "affine": 3}'])
def test_damaged_facts_are_none(tmp_path, content):
    path = tmp_path / "a.npy"
    write(path)
    path.with_suffix(".json").write_text(content)
    assert open_run(path, None) is None
