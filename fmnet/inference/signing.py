"""Sign a bundle with Ed25519, and check who signed it.

What is signed are the bytes of ``SHA256SUMS``, so all files whose hashes it has; the signature lies
beside it, in ``SHA256SUMS.sig``, as 64 bytes that ``openssl`` and others check as well. It says who
vouches for a bundle: anybody who alters one can write hashes that fit. Needs ``cryptography``, the
extra ``sign``.
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fmnet.errors import BundleError, ConfigError, Fault
from fmnet.inference.bundle_files import CHECKSUMS, MAX_BYTES, SEAL, read_bounded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

#: Bytes of an Ed25519 signature, and most of a file with a key.
SEAL_BYTES, MAX_KEY_BYTES = 64, 2**14
PRIVATE, PUBLIC = "an Ed25519 private key in PEM", "an Ed25519 public key in PEM"


def check_signature(folder: Path, key: Path) -> str:
    """Check that who holds the private half of a public key signed a bundle's hashes.

    Whether the files have these hashes is checked by `fmnet.inference.bundle.read_bundle`.

    Returns
    -------
    str
        The key's fingerprint: the SHA-256 of its DER form, in hexadecimal digits.

    Raises
    ------
    BundleError
        If the bundle isn't signed, by another key, or its hashes were altered since.
    ConfigError
        If `key` is no Ed25519 public key, or cryptography isn't installed.
    """
    public = _read_public_key(key)
    if not os.path.lexists(folder / SEAL):
        action = "ask who made the bundle for a signed one, or leave out --require-signature"
        raise _refuse(folder, f"no signature ({SEAL})", action)
    if links := [name for name in (CHECKSUMS, SEAL) if (folder / name).is_symlink()]:
        raise _refuse(folder, f"{links[0]} that is a link", "copy the folder again from its source")
    try:
        signed = read_bounded(folder / CHECKSUMS, MAX_BYTES)
        signature = read_bounded(folder / SEAL, SEAL_BYTES)
    except OSError as error:
        found = f"a signature that can't be read ({error})"
        raise _refuse(folder, found, "copy the folder again from its source") from error
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, signed)
    except InvalidSignature as error:
        found = f"a signature by another key than '{key}', or of other hashes"
        action = "use no score of it before who made the bundle says which key signs it"
        raise _refuse(folder, found, action) from error
    return fingerprint(public)


def sign_hashes(folder: Path, key: "Ed25519PrivateKey") -> str:
    """Sign the hashes of a bundle; returns the fingerprint of the public half of `key`."""
    (folder / SEAL).write_bytes(key.sign(read_bounded(folder / CHECKSUMS, MAX_BYTES)))
    return fingerprint(key.public_key())


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """Read the key that signs: an Ed25519 private key in PEM, without a password.

    Raises
    ------
    ConfigError
        If it is something else or can't be read, or cryptography isn't installed.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _read_key(path, PRIVATE)
    try:
        key: Any = load_pem_private_key(text, password=None)
    except TypeError:  # what cryptography says of a password that isn't given
        found = "a private key with a password"
        action = f"leave it out, and sign {CHECKSUMS} by openssl: see docs/bundles.md"
        raise ConfigError(Fault(str(path), found, PRIVATE, action)) from None
    except Exception as error:  # noqa: BLE001 (it documents some, and has others)
        _no_key(path, f"no such key ({type(error).__name__})", PRIVATE)
    if not isinstance(key, Ed25519PrivateKey):
        _no_key(path, f"a key of another kind ({type(key).__name__})", PRIVATE)
    return key


def fingerprint(key: "Ed25519PublicKey") -> str:
    """Name a public key by the SHA-256 of its DER form, in hexadecimal digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def _read_public_key(path: Path) -> "Ed25519PublicKey":
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text = _read_key(path, PUBLIC)
    if b"PRIVATE KEY" in text:  # nobody who only checks should have it
        _no_key(path, "a private key", PUBLIC)
    try:
        key: Any = load_pem_public_key(text)
    except Exception as error:  # noqa: BLE001 (it documents some, and has others)
        _no_key(path, f"no such key ({type(error).__name__})", PUBLIC)
    if not isinstance(key, Ed25519PublicKey):
        _no_key(path, f"a key of another kind ({type(key).__name__})", PUBLIC)
    return key


def _read_key(path: Path, accepted: str) -> bytes:
    try:
        return read_bounded(path, MAX_KEY_BYTES)
    except (OSError, ValueError) as error:
        _no_key(path, f"a file that can't be read ({error})", accepted)


def _no_key(path: Path, found: str, accepted: str) -> NoReturn:
    action = "give the key that docs/bundles.md says how to make"
    raise ConfigError(Fault(str(path), found, accepted, action)) from None


def _need_cryptography() -> None:
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        found, action = "no package cryptography", "pip install 'fmnet[sign]'"
        accepted = "the extra 'sign', which signatures are made and checked with"
        raise ConfigError(Fault("signature of a bundle", found, accepted, action)) from error


def _refuse(folder: Path, found: str, action: str) -> BundleError:
    return BundleError(
        Fault(str(folder), found, "a bundle signed by the key that was given", action)
    )
