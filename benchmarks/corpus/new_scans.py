"""What a signature with gates, sets and signed files is given: other scans, altered files.

It is the shipped one, with gates and scores of unseen people fitted on synthetic people.
"""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import json
import os
import shutil
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from safetensors.numpy import load, save
from scipy.ndimage import gaussian_filter, shift
from scipy.stats import norm, rankdata

from benchmarks.corpus.answers import (
    ANY,
    CANNOT_SAY,
    EITHER,
    ERROR,
    FORCED,
    NO_SCORE,
    REFUSED,
    RIGHT,
    Answers,
)
from benchmarks.corpus.bundles import CHECKSUMS, MISSING, refresh_sums
from benchmarks.corpus.case import NAME, Case, Materials
from benchmarks.corpus.craft import Array, nifti
from fmnet.data.image_files import hash_file
from fmnet.data.nifti import read_volume
from fmnet.data.resample import place_on_grid
from fmnet.inference.bundle_files import GATE_ARRAYS, GATES, SEAL, TRAINING_SCANS, UNSEEN
from fmnet.inference.gates import fit_gates
from fmnet.inference.signing import sign_hashes
from fmnet.inference.training_scans import salt_hashes
from fmnet.inference.unseen_scores import gather_unseen, write_unseen
from fmnet.synthetic.cohort_folder import SPACE
from fmnet.synthetic.maps import write_cohort

#: Synthetic people of training, half of them in each group.
N_PEOPLE = 40
Change = Callable[[Path], Any]


def new_scan_cases() -> list[Case]:
    """List every case that is about what came with gates, sets and signatures."""
    parts = (_maps, _unseen, _learned, _gate_files, _gate_arrays, _signatures, _keys, _requests)
    return [case for part in parts for case in part()]


@cache
def gated_bundle(m: Materials) -> Path:
    """Write the signature with gates and scores of unseen people, once for each folder."""
    target, draft = m.folder / "gated", m.folder / f"gated-{os.getpid()}"
    if target.exists():
        return target
    root = write_cohort(draft.with_name(f"{draft.name}-people"), n_subjects=N_PEOPLE, seed=12)
    files = sorted(root.glob("sub-*/func/*_statmap.nii.gz"))
    rows = (root / "participants.tsv").read_text("utf-8").splitlines()[1:]
    groups = {row.split("\t")[0]: "FM" in row.split("\t") for row in rows}
    people = [file.name.split("_")[0] for file in files]
    grid = m.bundle.preparation.grid
    values = np.stack([place_on_grid(read_volume(file, SPACE), grid) for file in files])
    scores = [float(m.bundle.scores_of_scan(scan)[0]) for scan in values]
    shutil.copytree(m.bundle_folder, draft)
    fit_gates(values, grid, m.bundle.preparation.contrasts, people).write(draft)
    labels = [int(groups[person]) for person in people]
    write_unseen(gather_unseen(scores, labels, people, ["one"] * len(people)), draft / UNSEEN)
    known = salt_hashes(hash_file(path) for path in m.maps[2:])
    (draft / TRAINING_SCANS).write_text(json.dumps(known.to_json()), "utf-8")
    refresh_sums(draft)
    shutil.rmtree(root)
    draft.rename(target)
    return target


# --- maps --------------------------------------------------------------------------------------


def _maps() -> Iterable[Case]:
    """List maps that are well written, and not what the signature was made for."""
    stopped = frozenset({CANNOT_SAY, ERROR})
    for name, change, right in (
        ("as it is", lambda v: v, RIGHT),
        ("float noise", lambda v: v * np.float32(1 + 1e-6), RIGHT),
        ("times 1.1", lambda v: v * np.float32(1.1), ANY),
        ("times 1.3", lambda v: v * np.float32(1.3), ANY),
        ("times 3", lambda v: v * np.float32(3), stopped),
        ("times 10", lambda v: v * np.float32(10), stopped),
        ("times 0.1", lambda v: v * np.float32(0.1), stopped),
        # synthetic brains do nearly the same on both sides: see suite=shift for others
        ("mirrored, left for right", lambda v: v[::-1], ANY),
        ("front for back", lambda v: v[:, ::-1], stopped),
        ("upside down", lambda v: v[:, :, ::-1], stopped),
        ("turned round", lambda v: v[::-1, ::-1], stopped),
        ("turned over", lambda v: v[::-1, :, ::-1], stopped),
        ("inverted", lambda v: v[::-1, ::-1, ::-1], stopped),
        ("negated", lambda v: -v, stopped),
        ("absolute", abs, stopped),
        ("squared, as F of t", lambda v: v**2, stopped),
        ("p values, two-sided", lambda v: _inside(v, 2 * norm.sf(abs(v))), stopped),
        ("p values, one-sided", lambda v: _inside(v, norm.sf(v)), stopped),
        ("1 - p", lambda v: _inside(v, norm.cdf(v)), stopped),
        ("-log10 p", lambda v: _inside(v, -np.log10(2 * norm.sf(abs(v)))), stopped),
        ("ranks", _ranks, stopped),
        ("a T1w, more or less", _anatomy, stopped),
        ("a T1w, skull-stripped", lambda v: _inside(v, _anatomy(v)), stopped),
        ("an EPI mean", lambda v: _inside(v, 1000 + 100 * _smooth(_noise(v), 2)), stopped),
        ("grey matter, 0 to 1", lambda v: _inside(v, norm.cdf(3 * _smooth(_noise(v), 1))), stopped),
        ("a variance map", lambda v: _inside(v, 1 + 0.1 * abs(_noise(v))), stopped),
        ("a parcellation of 100", lambda v: _parcels(v, 100), stopped),
        ("a parcellation of 7", lambda v: _parcels(v, 7), stopped),
        ("a mask of two values", lambda v: _inside(v, np.where(v > 0, 1.0, -1.0)), stopped),
        ("white noise", lambda v: _inside(v, _noise(v)), stopped),
        ("smooth noise", lambda v: _inside(v, _smooth(_noise(v), 1.6) * 8), ANY),
        ("a gradient", lambda v: _inside(v, np.indices(v.shape)[1] / 20 - 1.1), stopped),
        ("smoothed by 6 mm more", lambda v: _inside(v, _smooth(v, 0.64)), ANY),
        ("smoothed by 20 mm more", lambda v: _inside(v, _smooth(v, 2.1)), stopped),
        ("noise on it, as much", lambda v: _inside(v, v + _noise(v) * v[v != 0].std()), stopped),
        ("thresholded at 1", lambda v: np.where(abs(v) > 1, v, 0), stopped),
        ("thresholded at 2", lambda v: np.where(abs(v) > 2, v, 0), stopped),
        ("left half alone", lambda v: _part(v, 0, slice(None, 18)), stopped),
        ("right half alone", lambda v: _part(v, 0, slice(18, None)), stopped),
        ("back half alone", lambda v: _part(v, 1, slice(None, 22)), stopped),
        ("front half alone", lambda v: _part(v, 1, slice(22, None)), stopped),
        ("lower half alone", lambda v: _part(v, 2, slice(None, 19)), stopped),
        ("upper half alone", lambda v: _part(v, 2, slice(19, None)), stopped),
        ("clipped at 1", lambda v: np.clip(v, -1, 1), ANY),
        ("rounded", lambda v: np.rint(v), ANY),
        ("another person's voxels in half", _mixed, ANY),
    ):
        for forced in (False, True):
            kind = "gates, forced" if forced else "gates, maps"
            yield _gated(kind, name, change, _forced(right) if forced else right, forced)
    for axis, where in enumerate(("right", "front", "top")):
        for mm in (4, 8, 20, 40):
            right = ANY if mm < 20 else stopped
            yield _gated(
                "gates, moved", f"{mm} mm to the {where}",
                lambda v, a=axis, n=mm: _moved(v, a, n / 4), right,
            )  # fmt: skip


def _forced(right: Answers) -> Answers:
    """Translate answers: what a gate stops is scored and marked, unless it can't be read."""
    return frozenset({FORCED}) | (right - {CANNOT_SAY}) | REFUSED


def _gated(
    kind: str, name: str, change: Callable[[Array], Array], right: Answers, is_forced: bool = False
) -> Case:
    def make(m: Materials, folder: Path) -> Path:
        gated_bundle(m)  # here, for the time of answers is taken
        path = folder / f"sub-09_{NAME}.nii"
        values = np.ascontiguousarray(change(m.data.copy()), np.float32)
        path.write_bytes(nifti(values, m.affine))
        return path

    options = ("--force",) if is_forced else ()
    return Case(kind, name, make, right, ("gated",), options=options)


def _inside(values: Array, inside: Any) -> Array:
    return np.asarray(np.where(values != 0, inside, 0))


def _noise(values: Array) -> Array:
    return np.random.default_rng(5).normal(size=values.shape)


def _smooth(values: Array, sd: float) -> Array:
    return np.asarray(gaussian_filter(values, sd))


def _part(values: Array, axis: int, kept: slice) -> Array:
    whole = [slice(None)] * 3
    whole[axis] = kept
    part = np.zeros_like(values)
    part[tuple(whole)] = values[tuple(whole)]
    return part


def _moved(values: Array, axis: int, n_voxels: float) -> Array:
    by = np.zeros(3)
    by[axis] = n_voxels
    return np.asarray(shift(values, by, order=1))


def _ranks(values: Array) -> Array:
    known = values != 0
    ranks = np.zeros_like(values)
    ranks[known] = rankdata(values[known]) / known.sum()
    return ranks


def _parcels(values: Array, n: int) -> Array:
    x, y, z = (index // 6 for index in np.indices(values.shape))
    return _inside(values, (x * 49 + y * 7 + z) % n + 1)


def _anatomy(values: Array) -> Array:
    """Draw a head: bright inside, dark fluid, a skull around it, nothing negative."""
    inside = _smooth((values != 0).astype(float), 1.5)
    ring = np.exp(-(((inside - 0.2) / 0.1) ** 2))
    return np.asarray(np.clip(600 * inside + 900 * ring + 40 * _noise(values), 0, None))


def _mixed(values: Array) -> Array:
    values[::2] = np.roll(values, 3, axis=1)[::2]
    return values


# --- files of the bundle -----------------------------------------------------------------------


def _altered(
    kind: str,
    name: str,
    change: Change,
    right: Answers = REFUSED,
    options: tuple[str, ...] = (),
    refresh: bool = True,
) -> Case:
    """Build a case of the signature with gates, altered, its hashes written again if so asked."""

    def make(m: Materials, folder: Path) -> Path:
        target = folder / "bundle"
        shutil.copytree(gated_bundle(m), target)
        change(target)
        if refresh:
            refresh_sums(target)
        return target

    return Case(kind, name, make, right, ("bundle",), tolerance=1e-3, options=options)


def _json(file: str, change: Callable[[Any], Any]) -> Change:
    """Change what a JSON file holds; bytes are written as they are."""

    def write(folder: Path) -> None:
        changed = change(json.loads((folder / file).read_text("utf-8")))
        content = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        (folder / file).write_bytes(content)

    return write


def _with(name: str, value: Any) -> Callable[[Any], Any]:
    """Set one field, or take it away."""

    def change(fields: Any) -> Any:
        rest = {key: own for key, own in fields.items() if key != name}
        return rest if value is MISSING else rest | {name: value}

    return change


def _shown(value: Any) -> str:
    return "missing" if value is MISSING else repr(value)[:30]


def _unseen() -> Iterable[Case]:
    kind = "unseen scores"
    yield _altered(kind, "as they are", lambda _: None, RIGHT)
    for side in ("positive", "negative"):
        bad: tuple[Any, ...] = (
            MISSING, None, [], {}, "1", 1.0, True, [None], ["1"], [True], [[1.0]], [float("nan")],
            [float("inf")], [1e7], [2.0, 1.0], [0.0] * 100_001, [10**400],
        )  # fmt: skip
        for value in bad:
            yield _altered(kind, f"{side} {_shown(value)}", _json(UNSEEN, _with(side, value)))
        for value in ([0.0], [-1e6], [1e6], [0.0] * 50, [1e-320], list(range(1000))):
            name = f"{side} of {len(value)}, from {value[0]:g}"
            yield _altered(kind, name, _json(UNSEEN, _with(side, value)), RIGHT)
    swapped = _json(UNSEEN, lambda f: {"positive": f["negative"], "negative": f["positive"]})
    yield _altered(kind, "groups exchanged", swapped, EITHER)
    yield _altered(kind, "an unknown field", _json(UNSEEN, _with("names", ["sub-01"])), EITHER)
    for name, content in (
        ("a list", b"[]"), ("null", b"null"), ("empty", b""), ("cut", b'{"positive": [1.0'),
        ("nested 100,000 deep", b'{"a":' * 100_000), ("of NULs", b"\0" * 99),
        ("twice", b'{"positive": [1], "positive": [2], "negative": [0]}'),
        ("in UTF-16", '{"positive": [1]}'.encode("utf-16")),
    ):  # fmt: skip
        yield _altered(kind, name, _json(UNSEEN, lambda _, c=content: c))
    yield _altered(kind, "missing, hash as before", _gone(UNSEEN), REFUSED, refresh=False)
    yield _altered(kind, "missing", _gone(UNSEEN), RIGHT)  # as in bundles of before
    yield _altered(kind, "of 5 MiB", _json(UNSEEN, lambda _: b" " * (5 << 20)))


def _learned() -> Iterable[Case]:
    """List hashes of training scans: the third and fourth person's are among them."""
    kind = "training scans"
    for name, value in (
        ("salt", MISSING), ("salt", None), ("salt", "a" * 63), ("salt", "A" * 64), ("salt", 1),
        ("scans", MISSING), ("scans", None), ("scans", {}), ("scans", [1]), ("scans", ["a"]),
        ("scans", ["g" * 64]), ("scans", [["a" * 64]]), ("scans", "a" * 64),
    ):  # fmt: skip
        change = _json(TRAINING_SCANS, _with(name, value))
        yield _altered(kind, f"{name} {_shown(value)}", change)
    yield _altered(kind, "none", _json(TRAINING_SCANS, _with("scans", [])), RIGHT)
    yield _altered(kind, "the same 3,000 times", _json(TRAINING_SCANS, _repeated), RIGHT)
    yield _altered(kind, "100,000 others", _json(TRAINING_SCANS, _others), EITHER)
    yield _altered(kind, "missing", _gone(TRAINING_SCANS), RIGHT)
    yield _altered(kind, "missing, hash as before", _gone(TRAINING_SCANS), refresh=False)
    for name, number, is_known in (("known", 2, True), ("unknown", 0, False)):
        yield Case(
            kind, f"a scan that is {name}", lambda m, _, n=number: [gated_bundle(m), m.maps[n]],
            frozenset({"marked" if is_known else "unmarked"}), ("known",),
        )  # fmt: skip


def _repeated(fields: Any) -> Any:
    return fields | {"scans": fields["scans"][:1] * 3000}


def _others(fields: Any) -> Any:
    return fields | {"scans": [f"{number:064x}" for number in range(100_000)]}


def _gone(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def _gate_files() -> Iterable[Case]:
    kind = "gates, file"
    yield _altered(kind, "as they are", lambda _: None, RIGHT)
    yield _altered(kind, "without both", _gone(GATES, GATE_ARRAYS), RIGHT)  # as of before
    yield _altered(kind, "without the arrays", _gone(GATE_ARRAYS))
    yield _altered(kind, "without gates.json", _gone(GATES), EITHER)
    for name in (GATES, GATE_ARRAYS):
        gone = _altered(kind, f"{name} missing, hash as before", _gone(name), refresh=False)
        yield gone
        for what, content in (
            ("empty", b""), ("of NULs", b"\0" * 99), ("null", b"null"), ("a list", b"[]"),
            ("nested 100,000 deep", b'{"a":' * 100_000), ("cut", b'{"limits": ['),
        ):  # fmt: skip
            write = lambda f, n=name, c=content: (f / n).write_bytes(c)  # noqa: E731
            yield _altered(kind, f"{name} {what}", write)
    for field in ("contrasts", "n_people", "limits", "caught"):
        for value in (
            MISSING,
            None,
            "a",
            -1,
            1.5,
            True,
            {},
            {"a": 1},
            [None],
            [1],
            ["other"],
            [[]],
        ):
            name = f"{field} {_shown(value)}"
            yield _altered(kind, name, _json(GATES, _with(field, value)))
    for value in (-0.1, 1.5, "a", float("nan")):
        yield _altered(kind, f"false_alarms {value}", _json(GATES, _with("false_alarms", value)))
    for field, value in (
        ("measure", "other"), ("measure", None), ("measure", ""), ("channel", 7), ("channel", -1),
        ("channel", "0"), ("channel", 0.5), ("low", "1"), ("low", float("nan")),
        ("low", float("-inf")), ("high", True), ("high", [1]), ("false_alarms", 2),
        ("false_alarms", "a"),
    ):  # fmt: skip
        name = f"first limit, {field} {_shown(value)}"
        yield _altered(kind, name, _json(GATES, _first_limit(field, value)))
    for name, limits, right in (
        ("no limits", [], REFUSED | RIGHT),
        ("10,000 limits", None, EITHER),
    ):
        change = _with("limits", limits) if limits is not None else _many_limits
        yield _altered(kind, name, _json(GATES, change), right)
    turned = _json(GATES, lambda f: f | {"limits": [_turned(one) for one in f["limits"]]})
    yield _altered(kind, "lower limits above upper ones", turned, NO_SCORE)


def _first_limit(field: str, value: Any) -> Callable[[Any], Any]:
    def change(fields: Any) -> Any:
        fields["limits"][0][field] = value
        return fields

    return change


def _many_limits(fields: Any) -> Any:
    return fields | {"limits": fields["limits"][:1] * 10_000}


def _turned(limit: Any) -> Any:
    return limit | {"low": 1e6, "high": -1e6}


def _gate_arrays() -> Iterable[Case]:
    kind = "gates, arrays"

    def stored(
        name: str, change: Callable[[dict[str, Any]], Any], right: Answers = REFUSED
    ) -> Case:
        def write(folder: Path) -> None:
            path = folder / GATE_ARRAYS
            path.write_bytes(save(change(load(path.read_bytes()))))

        return _altered(kind, name, write, right)

    for key in ("mean", "mean_size", "usual", "flip 0"):
        yield stored(f"{key} missing", lambda a, k=key: {n: v for n, v in a.items() if n != k})
        for what, change in (
            ("float64", lambda v: v.astype(np.float64)), ("int32", lambda v: v.astype(np.int32)),
            ("one short", lambda v: v[:, :-1]), ("flat", np.ravel), ("a number", lambda v: v[0, 0]),
            ("NaN", lambda v: np.full_like(v, np.nan)), ("inf", lambda v: np.full_like(v, np.inf)),
            ("1e38", lambda v: np.full_like(v, 1e38)),
        ):  # fmt: skip
            yield stored(
                f"{key} {what}",
                lambda a, k=key, c=change: a | {k: np.ascontiguousarray(c(a[k]))},
            )
        zero = lambda a, k=key: a | {k: np.zeros_like(a[k])}  # noqa: E731
        yield stored(f"{key} 0", zero, EITHER)
    yield stored("an unknown array", lambda a: a | {"more": np.zeros(3, np.float32)}, EITHER)


# --- signatures --------------------------------------------------------------------------------


@cache
def _key(seed: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def _public(key: Any, form: pem.PublicFormat = pem.PublicFormat.SubjectPublicKeyInfo) -> bytes:
    encoding = pem.Encoding.OpenSSH if form is pem.PublicFormat.OpenSSH else pem.Encoding.PEM
    return bytes(key.public_key().public_bytes(encoding, form))


def _private(key: Any) -> bytes:
    plain = pem.NoEncryption()
    return bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, plain))


def _signed(
    kind: str,
    name: str,
    after: Change = lambda _: None,
    right: Answers = REFUSED,
    key: Callable[[Path], Any] = lambda path: path.write_bytes(_public(_key(1))),
    is_asked: bool = True,
) -> Case:
    """Build a case of a signed bundle that is changed after; `key` writes the one that is asked."""

    def make(m: Materials, folder: Path) -> Any:
        target = folder / "bundle"
        shutil.copytree(m.bundle_folder, target)
        sign_hashes(target, _key(1))
        after(target)
        key(path := folder / "key.pem")
        return [target, "--require-signature", path] if is_asked else [target]

    return Case(kind, name, make, right, ("signed",), tolerance=1e-3)


def _signatures() -> Iterable[Case]:
    kind = "signature"
    yield _signed(kind, "as it is", right=RIGHT)
    yield _signed(kind, "as it is, none asked for", right=RIGHT, is_asked=False)
    yield _signed(kind, "none", _gone(SEAL))
    yield _signed(kind, "none, none asked for", _gone(SEAL), RIGHT, is_asked=False)
    for bit in (0, 1, 7):
        for place in (0, 31, 32, 63):
            yield _signed(kind, f"bit {bit} of byte {place} flipped", _flip(SEAL, place, bit))
    for name, content in (
        ("empty", b""), ("a byte short", None), ("a byte long", b"\0"), ("zeros", b"\0" * 64),
        ("ones", b"\xff" * 64), ("of 1 MB", b"\0" * 1_000_000), ("in hex", b"0" * 128),
    ):  # fmt: skip
        yield _signed(kind, name, _sealed(content))
    for place in (0, 63, 64, 70):
        yield _signed(
            kind, f"bit of byte {place} of the hashes flipped", _flip(CHECKSUMS, place, 0)
        )
    yield _signed(kind, "a file altered, hashes as before", _flip("calibration.json", 20, 0))
    yield _signed(kind, "a file altered, hashes written again", _rehashed)
    yield _signed(kind, "a file more, hashes as before", lambda f: (f / "x").write_text("x"))
    yield _signed(kind, "by another key", lambda f: sign_hashes(f, _key(2)))
    yield _signed(kind, "by another key, none asked for", lambda f: sign_hashes(f, _key(2)), RIGHT,
                  is_asked=False)  # fmt: skip
    yield _signed(kind, "a FIFO", _replaced(SEAL, os.mkfifo))
    yield _signed(kind, "a folder", _replaced(SEAL, os.mkdir))
    yield _signed(kind, "a link", _replaced(SEAL, lambda p: os.symlink("/etc/hostname", p)))
    yield _signed(kind, "a link to nothing", _replaced(SEAL, lambda p: os.symlink("nosuch", p)))
    yield _signed(kind, "/dev/zero", _replaced(SEAL, lambda p: os.symlink("/dev/zero", p)))
    yield _signed(kind, "hashes missing", _gone(CHECKSUMS))
    for what, change in (
        ("a FIFO", _replaced(SEAL, os.mkfifo)), ("of 1 MB", _sealed(b"\0" * 1_000_000)),
        ("empty", _sealed(b"")),
    ):  # fmt: skip
        yield _signed(kind, f"{what}, none asked for", change, EITHER, is_asked=False)


def _flip(name: str, place: int, bit: int) -> Change:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1 << bit
        (folder / name).write_bytes(bytes(content))

    return change


def _sealed(content: bytes | None) -> Change:
    """Put other bytes there; one of them is added, and None takes the last one away."""

    def change(folder: Path) -> None:
        before = (folder / SEAL).read_bytes()
        after = before[:-1] if content is None else content
        (folder / SEAL).write_bytes(before + after if len(after) == 1 else after)

    return change


def _rehashed(folder: Path) -> None:
    path = folder / "calibration.json"
    path.write_text(path.read_text("utf-8").replace(" ", "  ", 1), "utf-8")
    seal = (folder / SEAL).read_bytes()
    (folder / SEAL).unlink()
    refresh_sums(folder)
    (folder / SEAL).write_bytes(seal)


def _replaced(name: str, write: Callable[[Path], Any]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        write(folder / name)

    return change


def _keys() -> Iterable[Case]:
    kind = "signature, key"
    good = _public(_key(1))
    other = rsa.generate_private_key(65537, 2048)
    for name, content, right in (
        ("with CRLF", good.replace(b"\n", b"\r\n"), EITHER),
        ("with a comment before it", b"fmnet\n" + good, EITHER),
        ("with a byte-order mark", b"\xef\xbb\xbf" + good, EITHER),
        ("with a key behind it", good + _public(_key(2)), EITHER),
        ("behind another", _public(_key(2)) + good, REFUSED),
        ("another", _public(_key(2)), REFUSED),
        ("its private half", _private(_key(1)), REFUSED),
        ("of RSA", _public(other), REFUSED),
        ("Ed448", _public(ed448.Ed448PrivateKey.generate()), REFUSED),
        ("as OpenSSH has it", _public(_key(1), pem.PublicFormat.OpenSSH), REFUSED),
        ("without its frame", b"\n".join(good.split(b"\n")[1:-2]), REFUSED),
        ("cut", good[:60], REFUSED),
        ("empty", b"", REFUSED),
        ("of garbage", b"\xff" * 200, REFUSED),
        ("of 10 MB", good + b"\n" * 10_000_000, REFUSED),
        ("bytes alone", b"\1" * 32, REFUSED),
        ("a certificate", good.replace(b"PUBLIC KEY", b"CERTIFICATE"), REFUSED),
        ("all zeros", good[:40] + b"A" * (len(good) - 66) + good[-26:], REFUSED),
    ):
        write = lambda path, c=content: path.write_bytes(c)  # noqa: E731
        yield _signed(kind, name, right=right, key=write)
    for name, make in (
        ("not there", lambda _: None), ("a folder", os.mkdir), ("a FIFO", os.mkfifo),
        ("/dev/zero", lambda path: os.symlink("/dev/zero", path)),
        ("a link to itself", lambda path: os.symlink(path, path)),
    ):  # fmt: skip
        yield _signed(kind, name, key=make)


# --- what is asked for -------------------------------------------------------------------------


def _requests() -> Iterable[Case]:
    kind = "request"
    for option, value, right in (
        ("--prevalence", "0.1", RIGHT), ("--prevalence", "0.5", RIGHT),
        ("--prevalence", "1e-6", RIGHT), ("--prevalence", "0.999999", RIGHT),
        ("--prevalence", "1e-300", EITHER), ("--prevalence", "0", REFUSED),
        ("--prevalence", "1", REFUSED), ("--prevalence", "-0.1", REFUSED),
        ("--prevalence", "10", REFUSED), ("--prevalence", "nan", REFUSED),
        ("--prevalence", "inf", REFUSED), ("--prevalence", "a", REFUSED),
        ("--prevalence", "10%", REFUSED), ("--prevalence", "0,1", REFUSED),
        ("--level", "0.8", RIGHT), ("--level", "0.5", RIGHT), ("--level", "0.99999", RIGHT),
        ("--level", "1e-9", EITHER), ("--level", "0", REFUSED), ("--level", "1", REFUSED),
        ("--level", "1.5", REFUSED), ("--level", "nan", REFUSED), ("--level", "-1", REFUSED),
        ("--level", "a", REFUSED), ("--level", "80", REFUSED),
    ):  # fmt: skip
        yield _altered(kind, f"{option} {value}", lambda _: None, right, (f"{option}={value}",))
