import hashlib
import json

import pytest

from fmnet.errors import BundleError
from fmnet.inference.training_scans import read_training_scans, salt_hashes

DIGESTS = [hashlib.sha256(text.encode()).hexdigest() for text in ("one", "other", "third")]


def test_only_what_was_learned_from_is_known(tmp_path):
    path = tmp_path / "training_scans.json"
    path.write_text(json.dumps(salt_hashes(DIGESTS[:2]).to_json()))
    known = read_training_scans(path)
    assert known.hold(["nothing", DIGESTS[0]])
    assert not known.hold([DIGESTS[2]])
    assert not known.hold([])


def test_hashes_are_salted_sorted_and_the_same_each_time():
    known = salt_hashes([*DIGESTS, "", DIGESTS[0]])
    assert known == salt_hashes(reversed(DIGESTS))
    written = known.to_json()["scans"]
    assert written == sorted(written)
    assert len(written) == 3
    assert not set(written) & set(DIGESTS)
    assert not known.hashes & salt_hashes(DIGESTS[:2]).hashes


@pytest.mark.parametrize(
    ("change", "found"),
    [({"salt": "x"}, "'salt' that is not"), ({"scans": ["ab"]}, "'scans' that is not")],
)
def test_other_content_is_refused(change, found, tmp_path):
    path = tmp_path / "training_scans.json"
    path.write_text(json.dumps(salt_hashes(DIGESTS).to_json() | change))
    with pytest.raises(BundleError, match=found):
        read_training_scans(path)
