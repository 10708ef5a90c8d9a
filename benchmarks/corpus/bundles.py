"""Altered bundles, their sums written again where somebody with intent would do so."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load, save

from benchmarks.corpus.answers import EITHER, REFUSED, RIGHT, Answers
from benchmarks.corpus.case import Case, Materials

Change = Callable[[Path], Any]
NEEDED = (
    "calibration.json", "metadata.json", "model.onnx", "preparation.json",
    "preparation.safetensors", "reference.json",
)  # fmt: skip
CHECKSUMS, SIGNATURE = "SHA256SUMS", "signature"


def bundle_cases() -> list[Case]:
    """List every case that is about a bundle."""
    parts = (_files, _sums, _extra, _metadata, _numbers, _tensors, _models, _paths)
    return [case for part in parts for case in part()]


def altered(
    name: str, change: Change, right: Answers = REFUSED, refresh: bool = True, kind: str = "bundle"
) -> Case:
    """Build a case of the shipped bundle, altered, its sums written again if so asked."""

    def make(m: Materials, folder: Path) -> Path:
        target = folder / "bundle"
        shutil.copytree(m.bundle_folder, target)
        given = change(target)
        if refresh:
            refresh_sums(target)
        return given if isinstance(given, Path) else target

    return Case(kind, name, make, right, ("bundle",), tolerance=1e-3)


def refresh_sums(folder: Path) -> None:
    """Write the hash of every file, as ``sha256sum * */*`` would; a signature has none."""
    files = [path for path in (*folder.iterdir(), *folder.glob("*/*")) if path.is_file()]
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
        if name not in {CHECKSUMS, f"{CHECKSUMS}.sig"}
    ]
    (folder / CHECKSUMS).write_text("".join(lines), "utf-8", "surrogateescape")


def _files() -> Iterable[Case]:
    kind = "bundle, files"
    yield altered("as it is", lambda _: None, RIGHT, kind=kind)
    for name in NEEDED:
        yield altered(
            f"{name} with one bit flipped", lambda f, n=name: _flip(f / n), REFUSED, False, kind
        )
        yield altered(
            f"{name} missing, sums as before",
            lambda f, n=name: (f / n).unlink(),
            REFUSED,
            False,
            kind,
        )
        yield altered(f"{name} missing", lambda f, n=name: (f / n).unlink(), kind=kind)
        yield altered(f"{name} empty", lambda f, n=name: (f / n).write_bytes(b""), kind=kind)
        yield altered(f"{name} cut in half", lambda f, n=name: _cut(f / n), kind=kind)
        yield altered(
            f"{name} of garbage",
            lambda f, n=name: (f / n).write_bytes(b"\xff\xfegarbage" * 50),
            kind=kind,
        )
        yield altered(
            f"{name} a FIFO",
            lambda f, n=name: _replaced(f / n, os.mkfifo),
            refresh=False,
            kind=kind,
        )
        yield altered(
            f"{name} is /dev/zero",
            lambda f, n=name: _replaced(f / n, lambda p: p.symlink_to("/dev/zero")),
            refresh=False,
            kind=kind,
        )
        yield altered(
            f"{name} a folder",
            lambda f, n=name: _replaced(f / n, Path.mkdir),
            refresh=False,
            kind=kind,
        )
        yield altered(f"{name} a link out of the bundle", _linked_out(name), kind=kind)
    for name in ("metadata.json", "calibration.json", "reference.json", "preparation.json"):
        yield altered(
            f"{name} of 3 GiB of holes",
            lambda f, n=name: _hole(f / n, 3 << 30),
            REFUSED,
            False,
            kind,
        )
        yield altered(
            f"{name} nested 100,000 deep",
            lambda f, n=name: (f / n).write_bytes(b'{"a":' * 100_000),
            kind=kind,
        )
        yield altered(f"{name} an array", lambda f, n=name: (f / n).write_text("[]"), kind=kind)
        yield altered(f"{name} null", lambda f, n=name: (f / n).write_text("null"), kind=kind)
        yield altered(
            f"{name} in UTF-16",
            lambda f, n=name: (f / n).write_bytes((f / n).read_text().encode("utf-16")),
            EITHER,
            kind=kind,
        )
        yield altered(
            f"{name} with a byte-order mark",
            lambda f, n=name: (f / n).write_bytes(b"\xef\xbb\xbf" + (f / n).read_bytes()),
            EITHER,
            kind=kind,
        )
    yield altered(
        "MODEL_CARD.md altered", lambda f: _flip(f / "MODEL_CARD.md"), REFUSED, False, kind
    )
    yield altered(
        "MODEL_CARD.md missing, sums as before",
        lambda f: (f / "MODEL_CARD.md").unlink(),
        REFUSED,
        False,
        kind,
    )
    yield altered(
        "model.pt2 of garbage", lambda f: (f / "model.pt2").write_bytes(b"x"), EITHER, kind=kind
    )


def _replaced(path: Path, write: Callable[[Path], Any]) -> None:
    path.unlink()
    write(path)


def _linked_out(name: str) -> Change:
    def change(folder: Path) -> None:
        outside = folder.with_name(f"outside-{name}")
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return change


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _hole(path: Path, n_bytes: int) -> None:
    with path.open("ab") as file:
        file.truncate(n_bytes)


def _sums() -> Iterable[Case]:
    kind = "bundle, sums"

    def listed(name: str, change: Callable[[str], str | bytes], right: Answers = REFUSED) -> Case:
        def write(folder: Path) -> None:
            content = change((folder / CHECKSUMS).read_text("utf-8"))
            (folder / CHECKSUMS).write_bytes(
                content.encode() if isinstance(content, str) else content
            )

        return altered(name, write, right, False, kind)

    zeros = "0" * 64
    yield listed("empty", lambda _: "")
    yield listed("of garbage", lambda _: b"\xff\xfe" * 100)
    yield listed("of NULs", lambda _: b"\0" * 1000)
    yield listed("in UTF-16", lambda s: s.encode("utf-16"))
    for name in (*NEEDED, "MODEL_CARD.md", "model.pt2"):
        yield listed(f"no line for {name}", lambda s, n=name: _without(s, n))
    yield listed("a line for what isn't there", lambda s: s + f"{zeros}  nosuch.txt\n")
    yield listed("a line with a path", lambda s: s + f"{zeros}  ../nosuch.txt\n")
    yield listed("a line with an absolute path", lambda s: s + f"{zeros}  /etc/passwd\n")
    yield listed("a line with control characters", lambda s: s + f"{zeros}  \x1b]0;owned\x07\n")
    yield listed("a line for itself", lambda s: s + f"{zeros}  {CHECKSUMS}\n", EITHER)
    yield listed("a line twice, once wrong", lambda s: s + f"{zeros}  metadata.json\n")
    yield listed(
        "a line twice, wrong one first", lambda s: f"{zeros}  metadata.json\n" + s, REFUSED
    )
    yield listed("a comment", lambda s: "# sums\n" + s, EITHER)
    yield listed("blank lines", lambda s: s.replace("\n", "\n\n"), EITHER)
    yield listed("CRLF", lambda s: s.replace("\n", "\r\n"), EITHER)
    yield listed(
        "upper-case hashes",
        lambda s: "".join(line[:64].upper() + line[64:] for line in s.splitlines(True)),
        EITHER,
    )
    yield listed("binary marks", lambda s: s.replace("  ", " *"), EITHER)
    yield listed(
        "short hashes", lambda s: "".join(line[:32] + line[64:] for line in s.splitlines(True))
    )
    yield listed("1,000,000 lines", lambda s: s + f"{zeros}  x\n" * 1_000_000)
    yield altered("missing", lambda f: (f / CHECKSUMS).unlink(), REFUSED, False, kind)
    yield altered("a FIFO", lambda f: _replaced(f / CHECKSUMS, os.mkfifo), REFUSED, False, kind)
    yield altered(
        "/dev/zero",
        lambda f: _replaced(f / CHECKSUMS, lambda p: p.symlink_to("/dev/zero")),
        REFUSED,
        False,
        kind,
    )
    yield altered("a folder", lambda f: _replaced(f / CHECKSUMS, Path.mkdir), REFUSED, False, kind)


def _without(text: str, name: str) -> str:
    return "".join(
        line for line in text.splitlines(True) if not line.rstrip().endswith(f"  {name}")
    )


def _extra() -> Iterable[Case]:
    kind = "bundle, extra"
    yield altered(
        "an unlisted file",
        lambda f: (f / "weights.bin").write_bytes(b"x" * 100),
        REFUSED,
        False,
        kind,
    )
    yield altered(
        "an unlisted model.onnx.data",
        lambda f: (f / "model.onnx.data").write_bytes(b"x" * 100),
        REFUSED,
        False,
        kind,
    )
    yield altered(
        "a listed file that nobody knows",
        lambda f: (f / "weights.bin").write_bytes(b"x" * 100),
        EITHER,
        True,
        kind,
    )
    yield altered("an unlisted folder", lambda f: (f / "more").mkdir(), EITHER, False, kind)
    yield altered(
        "an unlisted link", lambda f: (f / "link").symlink_to("/etc/passwd"), REFUSED, False, kind
    )
    yield altered("an unlisted FIFO", lambda f: os.mkfifo(f / "pipe"), REFUSED, False, kind)
    yield altered(
        ".DS_Store", lambda f: (f / ".DS_Store").write_bytes(b"\0\0\0\1Bud1"), EITHER, False, kind
    )
    yield altered(
        "bold.json of another kind",
        lambda f: (f / "bold.json").write_text("{}"),
        REFUSED,
        True,
        kind,
    )
    yield altered(
        "a name that isn't UTF-8", lambda f: (f / "\udcff").write_bytes(b"x"), EITHER, False, kind
    )
    yield altered(
        "an escape sequence as name",
        lambda f: (f / "\x1b]0;owned\x07").write_bytes(b"x"),
        EITHER,
        False,
        kind,
    )
    yield altered(
        "3,000 unlisted files",
        lambda f: _many(f),
        REFUSED,
        False,
        kind,
    )
    yield from _in_folder()


def _in_folder() -> Iterable[Case]:
    """List cases of the one folder that bundles may have, of which this one's metadata say none."""
    kind = "bundle, folder"
    yield altered("an unlisted file in it", _holding(), REFUSED, False, kind)
    yield altered("a listed file in it", _holding(), kind=kind)
    yield altered("it is empty", lambda f: (f / SIGNATURE).mkdir(), REFUSED, False, kind)
    yield altered("it is a file", lambda f: (f / SIGNATURE).write_text("x"), EITHER, True, kind)
    link = _holding(lambda f: (f / "link").symlink_to("/etc/passwd"))
    yield altered("a link in it", link, kind=kind)
    yield altered(
        "it is a link", lambda f: (f / SIGNATURE).symlink_to("/etc"), REFUSED, False, kind
    )
    yield altered("a FIFO in it", _holding(lambda f: os.mkfifo(f / "pipe")), kind=kind)
    yield altered("a folder in it", _holding(lambda f: (f / "more").mkdir()), kind=kind)
    large = _holding(lambda f: os.truncate(f / "x.tsv", 2**36))
    yield altered("64 GiB in it", large, REFUSED, False, kind)


def _holding(change: Change = lambda _: None) -> Change:
    """Make a change that puts a file into the folder, and then changes what is in there."""

    def put(folder: Path) -> None:
        (folder / SIGNATURE).mkdir()
        (folder / SIGNATURE / "x.tsv").write_bytes(b"x")
        change(folder / SIGNATURE)

    return put


def _many(folder: Path) -> None:
    for number in range(3000):
        (folder / f"x{number}").touch()


def _edited(
    name: str, place: str, value: Any, right: Answers, kind: str, file: str = "metadata.json"
) -> Case:
    """Set one value of a JSON file; `value` may be text that no library would write."""

    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text("utf-8"))
        *above, last = place.split(".")
        part = content
        for key in above:
            part = part[key]
        if value is MISSING:
            part.pop(last)
            text = json.dumps(content)
        else:
            part[last] = "@@"
            raw = value.decode() if isinstance(value, bytes) else json.dumps(value)
            text = json.dumps(content).replace('"@@"', raw, 1)
        (folder / file).write_text(text, "utf-8")

    return altered(name, change, right, True, kind)


MISSING = object()
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def _metadata() -> Iterable[Case]:
    kind = "bundle, metadata"
    for value in (
        True,
        "1",
        0,
        2,
        None,
        [1],
        {},
        b"1e999",
        b"NaN",
        b"1" * 10_000,
        -1,
        1.5,
        MISSING,
    ):
        shown = (
            value.decode()[:12]
            if isinstance(value, bytes)
            else "missing"
            if value is MISSING
            else repr(value)
        )
        right = EITHER if value == 2 else REFUSED  # of which it may be, but for what it lacks
        yield _edited(f"format_version {shown}", "format_version", value, right, kind)
    yield _edited("format_version 1.0", "format_version", 1.0, EITHER, kind)
    for place in (
        "intended_use",
        "input.contrasts",
        "input.stat",
        "input.space",
        "training.positive",
        "training.negative",
        "training.origin",
        "training.n_scans",
    ):
        yield _edited(f"{place} missing", place, MISSING, REFUSED, kind)
        yield _edited(f"{place} null", place, None, REFUSED, kind)
        yield _edited(f"{place} a mapping", place, {"a": 1}, REFUSED, kind)
    for place in (
        "intended_use",
        "input.stat",
        "training.positive",
        "training.negative",
        "training.origin",
    ):
        right = REFUSED if place == "input.stat" else EITHER
        yield _edited(f"{place} with control characters", place, f"FM{ESCAPE}", right, kind)
        yield _edited(f"{place} a number", place, 3, REFUSED, kind)
        yield _edited(f"{place} empty", place, "", EITHER, kind)
        yield _edited(f"{place} of 1,000,000 characters", place, "x" * 1_000_000, EITHER, kind)
    for value in (-1, 0, 1.5, True, "60", b"1e400", b"NaN", 10**30):
        shown = value.decode() if isinstance(value, bytes) else repr(value)
        yield _edited(
            f"training.n_scans {shown}",
            "training.n_scans",
            value,
            EITHER if value == 10**30 else REFUSED,
            kind,
        )
    for value in (
        [],
        ["pressure", "pressure"],
        ["pressure", "other"],
        ["other"],
        "pressure",
        [1],
        [[]],
        [ESCAPE],
        ["pressure"] * 100_000,
    ):
        yield _edited(
            f"input.contrasts {str(value)[:24]!r}", "input.contrasts", value, REFUSED, kind
        )
    for value in ("T1w", "nosuch", "", "MNI152NLin6Asym", ESCAPE):
        yield _edited(f"input.space {value!r}", "input.space", value, REFUSED, kind)
    yield _edited("input.kind bold", "input.kind", "series", REFUSED, kind)
    yield _edited("input.kind unknown", "input.kind", ESCAPE, REFUSED, kind)
    yield _edited("an unknown key", "more", {"a": [1, 2]}, RIGHT, kind)
    yield _edited("another shape", "input.shape", [1, 2, 3], EITHER, kind)
    yield _edited("versions a list", "versions", [1], EITHER, kind)
    yield altered(
        "a key twice",
        lambda f: _text(f, "metadata.json", lambda t: t.replace("{", '{"format_version": 9,', 1)),
        EITHER,
        kind=kind,
    )
    yield altered(
        "garbage behind", lambda f: _text(f, "metadata.json", lambda t: t + "garbage"), kind=kind
    )
    yield altered(
        "comments", lambda f: _text(f, "metadata.json", lambda t: "// fmnet\n" + t), kind=kind
    )
    yield altered(
        "altered, sums as before",
        lambda f: _text(f, "metadata.json", lambda t: t.replace("FM", "PM")),
        REFUSED,
        False,
        kind,
    )
    yield altered(
        "damaged and unlisted",
        lambda f: _text(f, "metadata.json", lambda _: '{"a":' * 100_000),
        REFUSED,
        False,
        kind,
    )


def _text(folder: Path, name: str, change: Callable[[str], str]) -> None:
    (folder / name).write_text(change((folder / name).read_text("utf-8")), "utf-8")


def _numbers() -> Iterable[Case]:
    """List numbers of the small files that aren't finite or possible."""
    kind = "bundle, numbers"
    bad: tuple[Any, ...] = (
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        "1",
        None,
        [],
        True,
        MISSING,
    )
    for file, places in (
        ("calibration.json", ("slope", "intercept")),
        ("preparation.json", ("fwhm_mm", "min_coverage")),
        ("reference.json", ("n_scans",)),
    ):
        for place, value in ((p, v) for p in places for v in bad):
            shown = (
                value.decode()
                if isinstance(value, bytes)
                else "missing"
                if value is MISSING
                else repr(value)
            )
            yield _edited(f"{place} {shown}", place, value, REFUSED, kind, file)
    for file, place, value, right in (
        ("calibration.json", "slope", 0.0, EITHER),
        ("calibration.json", "slope", -1.0, EITHER),
        ("calibration.json", "slope", 1e308, EITHER),
        ("calibration.json", "intercept", 1e308, EITHER),
        ("preparation.json", "fwhm_mm", -1.0, REFUSED),
        ("preparation.json", "fwhm_mm", 1e9, REFUSED),
        ("preparation.json", "fwhm_mm", 1e4, REFUSED),
        ("preparation.json", "min_coverage", -1, REFUSED),
        ("preparation.json", "min_coverage", 2, REFUSED),
        ("preparation.json", "contrasts", ["other"], REFUSED),
        ("preparation.json", "contrasts", [], REFUSED),
        ("preparation.json", "space", "T1w", REFUSED),
        ("preparation.json", "shape", [1, 2, 3], EITHER),
        ("preparation.json", "affine", [[0] * 4] * 4, REFUSED),
        ("preparation.json", "affine", [], REFUSED),
        ("preparation.json", "affine", [[b"NaN".decode()] * 4] * 4, REFUSED),
        (
            "preparation.json",
            "affine",
            [[1e30 if i == j else 0 for j in range(4)] for i in range(4)],
            REFUSED,
        ),
        (
            "preparation.json",
            "affine",
            [[-4, 0, 0, 70], [0, 4, 0, -106], [0, 0, 4, -72], [0, 0, 0, 1]],
            REFUSED,
        ),
        ("reference.json", "scale_low", [2.0], REFUSED),
        ("reference.json", "scale_low", [-1.0], REFUSED),
        ("reference.json", "scale_low", [], REFUSED),
        ("reference.json", "scale_high", [1.0, 2.0], REFUSED),
        ("reference.json", "scale_high", ["1"], REFUSED),
        ("reference.json", "contrasts", ["other"], REFUSED),
        ("reference.json", "scale_high", [b"Infinity".decode()], REFUSED),
    ):
        yield _edited(
            f"{place} {str(value)[:40]} in {file}",
            place,
            value,
            right | ({"other score"} if right == EITHER else set()),
            kind,
            file,
        )


def _tensors() -> Iterable[Case]:
    kind = "bundle, tensors"

    def stored(
        name: str, change: Callable[[dict[str, Any]], dict[str, Any]], right: Answers = REFUSED
    ) -> Case:
        def write(folder: Path) -> None:
            path = folder / "preparation.safetensors"
            path.write_bytes(save(change(load(path.read_bytes()))))

        return altered(name, write, right, True, kind)

    def put(key: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda arrays: arrays | {key: np.ascontiguousarray(value(arrays[key]))}

    for key in ("mean", "weight"):
        for value in (np.nan, np.inf, 1e38):
            # 1e38 where the mean is taken off and multiplied leaves no finite score
            yield stored(f"{key} {value:g}", put(key, lambda a, v=value: np.full_like(a, v)))
        yield stored(f"{key} float64", put(key, lambda a: a.astype(np.float64)))
        yield stored(f"{key} transposed", put(key, lambda a: a.T))
        yield stored(f"{key} one short", put(key, lambda a: a[:, :-1]))
        yield stored(
            f"{key} missing", lambda arrays, k=key: {n: a for n, a in arrays.items() if n != k}
        )
    yield stored("weight negative", put("weight", lambda a: -a), EITHER | {"other score"})
    yield stored("mask empty", put("mask", np.zeros_like))
    yield stored("mask of ones", put("mask", np.ones_like))
    yield stored("mask of another shape", put("mask", lambda a: a[:-1]))
    yield stored("mask flat", put("mask", np.ravel))
    yield stored("mask missing", lambda arrays: {n: a for n, a in arrays.items() if n != "mask"})
    yield stored(
        "an unknown tensor", lambda arrays: arrays | {"more": np.zeros(3, np.float32)}, EITHER
    )
    for name, content in (
        ("header longer than the file", (2**62).to_bytes(8, "little") + b"{}"),
        ("header of 100 MB claimed", (10**8 - 1).to_bytes(8, "little") + b"{}"),
        ("empty header", (2).to_bytes(8, "little") + b"{}"),
        ("header of garbage", (8).to_bytes(8, "little") + b"garbage!"),
        ("tensor beyond the file", _tensor_header([0, 2**40], [2**38])),
        ("shape that overflows", _tensor_header([0, 4], [2**62, 2**62])),
        ("offsets turned about", _tensor_header([4, 0], [1])),
        ("pickle", b"\x80\4cos\nsystem\n(S'true'\ntR."),
    ):
        yield altered(
            name, lambda f, c=content: (f / "preparation.safetensors").write_bytes(c), kind=kind
        )


def _tensor_header(offsets: list[int], shape: list[int]) -> bytes:
    head = json.dumps({"mask": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    return len(head).to_bytes(8, "little") + head + b"\0" * 16


def _models() -> Iterable[Case]:
    kind = "bundle, model"

    def model(
        name: str,
        build: Callable[[onnx.ModelProto, Path], onnx.ModelProto | bytes],
        right: Answers = REFUSED,
    ) -> Case:
        def write(folder: Path) -> None:
            path = folder / "model.onnx"
            made = build(onnx.load(path), folder)
            path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())

        return altered(name, write, right, True, kind)

    def weights(value: float) -> Callable[[onnx.ModelProto, Path], onnx.ModelProto]:
        def change(proto: onnx.ModelProto, _: Path) -> onnx.ModelProto:
            for tensor in proto.graph.initializer:
                array = numpy_helper.to_array(tensor)
                if array.dtype == np.float32:
                    filled = np.full_like(array, value)
                    tensor.CopyFrom(numpy_helper.from_array(filled, tensor.name))
            return proto

        return change

    for value in (np.nan, np.inf, -np.inf, 1e38, 3e38):
        yield model(f"weights {value:g}", weights(value))
    yield model("weights 0", weights(0.0), EITHER | {"other score"})
    yield model("weights in a file of the host", lambda *_: _external("/etc/hostname"))
    yield model("weights in a file above", lambda *_: _external("../outside.bin"))
    yield model("weights in a file beside it", lambda _, f: _beside(f))
    yield model("weights in /dev/zero", lambda *_: _external("/dev/zero"))
    yield model("weights in a file that isn't there", lambda *_: _external("nosuch.bin"))
    yield model("other input", lambda *_: _tiny(image="picture"))
    yield model("other output", lambda *_: _tiny(score="scores"))
    yield model("other shape", lambda *_: _tiny(shape=(1, 7, 8, 9)))
    yield model("any shape", lambda *_: _tiny(shape=("c", "x", "y", "z")))
    yield model("two outputs", lambda *_: _tiny(more=True))
    yield model("input of float64", lambda *_: _tiny(kind=TensorProto.DOUBLE))
    yield model("a mean of all voxels", lambda *_: _tiny(), EITHER | {"other score"})
    yield model("score NaN", lambda *_: _tiny(tail=("Log", "Neg", "Log")))
    yield model("custom operator", lambda *_: _tiny(tail=("Own",), domain="org.example"))
    yield model("Loop without end", lambda *_: _looping())
    yield model("10 TB of zeros", lambda *_: _large(10**13))
    yield model("8 GB of zeros", lambda *_: _large(2 * 10**9))
    yield model("opset 9999", lambda *_: _tiny(opset=9999))
    yield model("opset 1", lambda *_: _tiny(opset=1), EITHER | {"other score"})
    yield model("10,000 nodes", lambda *_: _tiny(tail=("Neg",) * 10_000), EITHER | {"other score"})
    yield model("garbage behind", lambda p, _: p.SerializeToString() + b"\xff" * 100)
    yield model("a text", lambda *_: b"<html></html>")
    yield model("producer with control characters", _produced, EITHER)


def _produced(proto: onnx.ModelProto, _: Path) -> onnx.ModelProto:
    proto.producer_name = ESCAPE
    proto.doc_string = ESCAPE
    return proto


SHAPE = (1, 36, 45, 39)


def _tiny(
    image: str = "image",
    score: str = "score",
    shape: tuple[Any, ...] = SHAPE,
    more: bool = False,
    kind: int = TensorProto.FLOAT,
    tail: tuple[str, ...] = (),
    domain: str = "",
    opset: int = 17,
) -> onnx.ModelProto:
    """Build a network that takes the mean over all voxels, then applies `tail`."""
    names = [f"h{number}" for number in range(len(tail))] + [score]
    nodes = [helper.make_node("ReduceMean", [image], [names[0]], axes=[1, 2, 3, 4], keepdims=0)]
    nodes += [
        helper.make_node(operator, [before], [after], domain=domain)
        for operator, before, after in zip(tail, names, names[1:], strict=False)
    ]
    outputs = [helper.make_tensor_value_info(score, kind, ["N"])]
    if more:
        nodes.append(helper.make_node("Identity", [image], ["copy"]))
        outputs.append(helper.make_tensor_value_info("copy", kind, ["N", *shape]))
    inputs = [helper.make_tensor_value_info(image, kind, ["N", *shape])]
    return _model(helper.make_graph(nodes, "tiny", inputs, outputs), opset, domain)


def _model(graph: onnx.GraphProto, opset: int = 17, domain: str = "") -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _adding(
    term: onnx.TensorProto | None, nodes: list[onnx.NodeProto], more: list[onnx.TensorProto]
) -> onnx.ModelProto:
    """Build a network that adds ``extra``, made by `nodes` or stored as `term`, to the mean."""
    mean = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3, 4], keepdims=0)
    total = helper.make_node("Add", ["mean", "extra"], ["score"])
    graph = helper.make_graph(
        [mean, *nodes, total], "adding",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [*([] if term is None else [term]), *more],
    )  # fmt: skip
    return _model(graph)


def _external(location: str) -> onnx.ModelProto:
    term = TensorProto(name="extra", data_type=TensorProto.FLOAT, dims=[1])
    term.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        entry = term.external_data.add()
        entry.key, entry.value = key, value
    return _adding(term, [], [])


def _beside(folder: Path) -> onnx.ModelProto:
    (folder / "more.bin").write_bytes(b"\0\0\x80?")
    return _external("more.bin")


def _looping() -> onnx.ModelProto:
    """Build a network that counts to 2**62."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["value", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    constants = [
        helper.make_tensor("n", TensorProto.INT64, [], [2**62]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    node = helper.make_node("Loop", ["n", "yes", "one"], ["extra"], body=body)
    return _adding(None, [node], constants)


def _large(n: int) -> onnx.ModelProto:
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [n])
    zero = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"], value=zero),
        helper.make_node("ReduceSum", ["zeros"], ["extra"], keepdims=1),
    ]
    return _adding(None, nodes, [shape])


def _paths() -> Iterable[Case]:
    kind = "bundle, path"
    yield altered("by a link", lambda f: _link_to(f), RIGHT, kind=kind)
    yield altered("with a slash", lambda f: f / ".", RIGHT, kind=kind)
    yield altered("not there", lambda f: f / "nosuch", kind=kind)
    yield altered("a file of it", lambda f: f / "model.onnx", kind=kind)
    yield altered("an empty folder", lambda f: _emptied(f), kind=kind)
    yield altered(
        "name with control characters",
        lambda f: f.rename(f.with_name("\x1b]0;owned\x07")),
        EITHER,
        False,
        kind,
    )
    yield altered(
        "name in Latin-1", lambda f: f.rename(f.with_name("m\udcfcller")), RIGHT, False, kind
    )
    yield altered(
        "name with an umlaut and a blank",
        lambda f: f.rename(f.with_name("Köln 1")),
        RIGHT,
        False,
        kind,
    )
    yield altered("the name empty", lambda _: Path(), REFUSED, kind=kind)
    yield altered("5,000 characters", lambda _: Path("/tmp" + "/long" * 1000), kind=kind)
    yield altered("a FIFO", lambda f: _fifo(f), kind=kind)
    yield altered("/dev/zero", lambda _: Path("/dev/zero"), kind=kind)
    yield altered("a link to itself", lambda f: _loop(f), kind=kind)


def _link_to(folder: Path) -> Path:
    link = folder.with_name("link")
    link.symlink_to(folder)
    return link


def _emptied(folder: Path) -> Path:
    empty = folder.with_name("empty")
    empty.mkdir()
    return empty


def _fifo(folder: Path) -> Path:
    pipe = folder.with_name("pipe")
    os.mkfifo(pipe)
    return pipe


def _loop(folder: Path) -> Path:
    link = folder.with_name("loop")
    link.symlink_to(link)
    return link
