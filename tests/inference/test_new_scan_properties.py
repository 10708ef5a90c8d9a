"""What must hold of sets, probabilities and signatures whatever the scores and files are."""

import json

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fmnet.errors import BundleError
from fmnet.inference.bundle_files import CHECKSUMS, SEAL
from fmnet.inference.calibration import Calibration
from fmnet.inference.sets import count_outside, fit_sets, promised_level
from fmnet.inference.signing import check_signature, sign_hashes
from fmnet.inference.training_scans import read_training_scans, salt_hashes
from fmnet.inference.unseen_scores import UnseenScores, read_unseen, write_unseen

scores = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60)
levels = st.floats(0.05, 0.99)


def _unseen(positive, negative):
    return UnseenScores(np.sort(positive), np.sort(negative))


@given(positive=scores, negative=scores, level=levels)
def test_no_set_promises_more_than_the_smaller_group_can(positive, negative, level):
    rule = fit_sets(_unseen(positive, negative), level)
    assert rule.level <= level
    assert rule.level <= promised_level(min(len(positive), len(negative)))


@given(positive=scores, negative=scores, one=levels, other=levels)
def test_a_higher_level_rules_out_no_more(positive, negative, one, other):
    unseen = _unseen(positive, negative)
    low, high = (fit_sets(unseen, level) for level in sorted((one, other)))
    for score in (*positive, *negative):
        for wide, narrow in zip(high.holds(score), low.holds(score), strict=True):
            assert wide or not narrow


@given(n=st.integers(1, 200), level=levels)
def test_fewer_are_left_outside_than_the_level_allows(n, level):
    n_outside = count_outside(n, level)
    assert n_outside == 0 or n_outside / n < 1 - level + 1e-9
    assert (n_outside > 0) == (level <= promised_level(n) + 1e-12)


@given(score=st.floats(-50, 50), slope=st.floats(0, 20), rates=st.tuples(levels, levels))
def test_probabilities_grow_with_score_and_prevalence(score, slope, rates):
    low, high = (Calibration(slope, 0.1).at_prevalence(rate) for rate in sorted(rates))
    assert 0 <= low.probability(score) <= high.probability(score) + 1e-12 <= 1 + 1e-12
    assert low.probability(score) <= low.probability(score + 1) + 1e-12


@given(positive=scores, negative=scores)
def test_scores_of_unseen_people_are_read_back_in_order(tmp_path_factory, positive, negative):
    path = tmp_path_factory.mktemp("unseen") / "unseen.json"
    write_unseen(_unseen(positive, negative), path)
    read = read_unseen(path)
    np.testing.assert_allclose(read.positive, np.sort(positive), rtol=1e-5, atol=1e-12)
    assert (np.diff(read.negative) >= 0).all()


@given(known=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=5))
def test_only_scans_of_training_are_known_and_none_is_told(tmp_path_factory, known):
    path = tmp_path_factory.mktemp("known") / "training_scans.json"
    path.write_text(json.dumps(salt_hashes(known).to_json()))
    read, told = read_training_scans(path), path.read_text()
    assert all(read.hold([digest]) and digest not in told for digest in known)
    assert not read.hold(["x" * 64])


@given(
    content=st.binary(max_size=300), place=st.integers(0, 10**6), bit=st.integers(0, 7),
    of_seal=st.booleans(),
)  # fmt: skip
def test_one_bit_undoes_a_signature(tmp_path_factory, content, place, bit, of_seal):
    folder = tmp_path_factory.mktemp("signed")
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(public)
    (folder / CHECKSUMS).write_bytes(content + b"\n")
    sign_hashes(folder, key)
    assert len(check_signature(folder, folder / "key.pem")) == 64
    path = folder / (SEAL if of_seal else CHECKSUMS)
    altered = bytearray(path.read_bytes())
    altered[place % len(altered)] ^= 1 << bit
    path.write_bytes(bytes(altered))
    with pytest.raises(BundleError, match="by another key than") as caught:
        check_signature(folder, folder / "key.pem")
    assert isinstance(caught.value.__cause__, InvalidSignature)
