"""Who signed a bundle, and all that a signature must not be taken for."""

import builtins
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fmnet.errors import BundleError, ConfigError
from fmnet.inference.bundle import read_bundle
from fmnet.inference.bundle_files import CHECKSUMS, SEAL, check_hashes, write_hashes
from fmnet.inference.signing import check_signature, fingerprint, read_private_key, sign_hashes

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "format_1"


def write_pair(folder, name, private, secret=None):
    """Write both halves of a key; gives their paths."""
    hidden = NoEncryption() if secret is None else BestAvailableEncryption(secret)
    own, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    own.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    half = private.public_key()
    public.write_bytes(half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return own, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The key that signs, and somebody else's."""
    folder = tmp_path_factory.mktemp("keys")
    new = ed25519.Ed25519PrivateKey.generate
    return write_pair(folder, "lab", new()), write_pair(folder, "other", new())


@pytest.fixture
def signed(keys, tmp_path):
    folder = shutil.copytree(BUNDLE, tmp_path / "signed")
    sign_hashes(folder, read_private_key(keys[0][0]))
    return folder


def test_signed_bundle_is_read_and_its_key_is_named(signed, keys):
    (private, public), _ = keys
    named = check_signature(signed, public)
    assert named == fingerprint(read_private_key(private).public_key())
    assert len((signed / SEAL).read_bytes()) == 64
    assert SEAL not in check_hashes(signed)
    assert read_bundle(signed).metadata["format_version"] in {1, 2}


def test_hashes_that_are_written_anew_are_not_signed(signed, keys):
    (signed / "calibration.json").write_text('{"slope": 9.0, "intercept": 0.0}')
    write_hashes(signed)
    assert read_bundle(signed).calibration.slope == 9.0  # anybody can do this
    with pytest.raises(BundleError, match="of other hashes"):
        check_signature(signed, keys[0][1])


def test_signed_file_that_is_altered_is_refused_by_its_hash(signed, keys):
    (signed / "calibration.json").write_text('{"slope": 9.0, "intercept": 0.0}')
    check_signature(signed, keys[0][1])
    with pytest.raises(BundleError, match=r"calibration\.json altered since export"):
        read_bundle(signed)


SEALS = {
    "gone": (lambda seal, keys: seal.unlink(), "no signature"),
    "empty": (lambda seal, keys: seal.write_bytes(b""), "of other hashes"),
    "of zeros": (lambda seal, keys: seal.write_bytes(bytes(64)), "of other hashes"),
    "cut": (lambda seal, keys: seal.write_bytes(seal.read_bytes()[:63]), "of other hashes"),
    "of a byte more": (lambda seal, keys: seal.open("ab").write(b"x"), "65 bytes, more than 64"),
    "of 4 TiB": (lambda seal, keys: os.truncate(seal, 4 * 2**40), "more than 64"),
    "as a pipe": (lambda seal, keys: (seal.unlink(), os.mkfifo(seal)), "no regular file"),
    "as a folder": (lambda seal, keys: (seal.unlink(), seal.mkdir()), "can't be read"),
    "as a link": (
        lambda seal, keys: (seal.rename(seal.parent.parent / "s"), seal.symlink_to("../s")),
        f"{SEAL} that is a link",
    ),
    "by somebody else": (
        lambda seal, keys: sign_hashes(seal.parent, read_private_key(keys[1][0])),
        "by another key than",
    ),
}


@pytest.mark.parametrize("name", SEALS)
def test_what_is_no_signature_is_refused(signed, keys, name):
    alter, found = SEALS[name]
    alter(signed / SEAL, keys)
    with pytest.raises(BundleError, match=found):
        check_signature(signed, keys[0][1])


def test_link_in_the_place_of_hashes_or_signature_is_refused_unasked(signed):
    (signed / SEAL).rename(signed.parent / "elsewhere")
    (signed / SEAL).symlink_to(signed.parent / "elsewhere")
    with pytest.raises(BundleError, match=f"{SEAL} that is a link"):
        read_bundle(signed)


def test_signature_has_no_hash_of_its_own(signed):
    with (signed / CHECKSUMS).open("a") as sums:
        sums.write(f"{'0' * 64}  {SEAL}\n")
    with pytest.raises(BundleError, match=f"{SEAL} missing"):
        read_bundle(signed)


def of_another_kind(folder):
    return write_pair(folder, "ec", ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no such key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no such key"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 lab", "no such key"),
        (b"x" * 2**15, "more than 16,384"),
        (b"-----BEGIN PRIVATE KEY-----\n", "a private key"),
    ],
)
def test_file_that_is_no_public_key_is_refused(signed, tmp_path, content, found):
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=found):
        check_signature(signed, path)


def test_keys_of_other_kinds_are_refused(signed, keys, tmp_path):
    private, public = of_another_kind(tmp_path)
    with pytest.raises(ConfigError, match="a key of another kind"):
        check_signature(signed, public)
    with pytest.raises(ConfigError, match="a key of another kind"):
        read_private_key(private)
    with pytest.raises(ConfigError, match="a private key"):
        check_signature(signed, keys[0][0])
    with pytest.raises(ConfigError, match="no such key"):
        read_private_key(keys[0][1])
    with pytest.raises(ConfigError, match="can't be read"):
        check_signature(signed, tmp_path / "nowhere.pem")


def test_private_key_with_a_password_is_for_openssl(tmp_path):
    private, _ = write_pair(tmp_path, "a", ed25519.Ed25519PrivateKey.generate(), b"secret")
    with pytest.raises(ConfigError, match=r"with a password.*sign SHA256SUMS by openssl"):
        read_private_key(private)


def test_without_cryptography_it_is_said_what_to_install(signed, keys, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'fmnet\[sign\]'"):
        check_signature(signed, keys[0][1])
    with pytest.raises(ConfigError, match=r"pip install 'fmnet\[sign\]'"):
        read_private_key(keys[0][0])
    assert read_bundle(signed).is_synthetic  # nobody asked for the signature


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_signs_and_checks_the_same(signed, keys, tmp_path):
    def openssl(*words):
        return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=False)

    sums, seal = signed / CHECKSUMS, signed / SEAL
    checked = ("pkeyutl", "-verify", "-pubin", "-inkey", keys[0][1], "-rawin", "-in", sums)
    assert openssl(*checked, "-sigfile", seal).returncode == 0
    own, public = tmp_path / "own.pem", tmp_path / "own.pub.pem"
    assert openssl("genpkey", "-algorithm", "ed25519", "-out", own).returncode == 0
    assert openssl("pkey", "-in", own, "-pubout", "-out", public).returncode == 0
    signing = ("pkeyutl", "-sign", "-inkey", own, "-rawin", "-in", sums, "-out", seal)
    assert openssl(*signing).returncode == 0
    der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER").stdout

    assert check_signature(signed, public) == hashlib.sha256(der).hexdigest()
