"""Names of files, what lies behind them, and what names state of maps."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.corpus.answers import ANY, EITHER, REFUSED, RIGHT, Answers
from benchmarks.corpus.case import CONTRAST, NAME, STAT, Case, Materials
from benchmarks.corpus.craft import nifti, pack_gzip
from benchmarks.corpus.headers import file_case
from fmnet.synthetic.cohort_folder import SPACE

Make = Callable[[Materials, Path], Any]
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 253000\n"
)
ANNEX_POINTER = b"/annex/objects/MD5E-s253000--0cc175b9c0f1b6a831c399e269772661.nii.gz\n"


def name_cases() -> list[Case]:
    """List every case that is about the name of a map or what kind of thing it names."""
    parts = (_spellings, _long_names, _stated, _things, _other_formats, _arguments)
    return [case for part in parts for case in part()]


def _plain(m: Materials) -> bytes:
    return nifti(m.data, m.affine)


def named(kind: str, what: str, name: str | bytes, right: Answers = RIGHT, **more: Any) -> Case:
    """Build a case of a sound map under another name."""

    def make(m: Materials, folder: Path) -> Path:
        path = folder / os.fsdecode(name)
        content = _plain(m)
        path.write_bytes(pack_gzip(content) if path.name.lower().endswith(".gz") else content)
        return path

    return Case(kind, what, make, right, **more)


def _spellings() -> Iterable[Case]:
    kind = "file name"
    end = f"_{NAME}.nii"
    for what, raw in (
        ("Latin-1", b"sub-m\xfcller"), ("invalid UTF-8", b"sub-\xff\xfe\x80"),
        ("cut UTF-8", b"sub-\xe2\x82"),
    ):  # fmt: skip
        yield named(kind, what, raw + end.encode())
    for what, start in (
        ("newline", "sub-a\nb"),
        ("carriage return", "sub-a\rb"),
        ("tab", "sub-a\tb"),
        ("escape sequence", "sub-\x1b]0;owned\x07\x1b[31m"),
        ("backspace", "sub-a\b\b\bok"),
        ("C1 control", "sub-\x9b31m"),
        ("DEL", "sub-\x7f"),
        ("bell", "sub-\x07"),
        ("emoji", "sub-\U0001f9e0\U0001f469\u200d\U0001f52c"),
        ("NFD", "sub-mu\u0308ller"),
        ("NFC", "sub-m\u00fcller"),
        ("right to left", "sub-\u202egnp"),
        ("zero width", "sub-\u200b01"),
        ("byte-order mark", "\ufeffsub-01"),
        ("line separator", "sub-\u2028"),
        ("private use", "sub-\ue000"),
        ("unassigned", "sub-\U000e0fff"),
        ("Chinese", "sub-\u75bc\u75db"),
        ("Arabic", "sub-\u0623\u0644\u0645"),
        ("spaces", "sub 01 of two"),
        ("leading blank", " sub-01"),
        ("comma", "sub-01,02"),
        ("only commas", ",,"),
        ("comma at the end", "sub-01,"),
        ("semicolon", "sub-01;02"),
        ("quotes", 'sub-"01"\''),
        ("formula", "=cmd|' C calc'!A0"),
        ("plus", "+1+1"),
        ("at", "@SUM(1)"),
        ("leading dash", "-sub"),
        ("two dashes", "--out"),
        ("glob", "sub-[0-9]*?"),
        ("braces", "sub-{a,b}"),
        ("dollar", "sub-$HOME_$(id)"),
        ("percent", "sub-%s%n%d"),
        ("backslash", "sub-a\\b\\n"),
        ("tilde", "~sub"),
        ("hash", "#sub"),
        ("ampersand", "sub&<b>"),
        ("pipe", "sub|01"),
        ("backtick", "sub`id`"),
        ("markup", "sub-<script>alert(1)<&"),
        ("dots", "sub..01"),
        ("hidden", ".sub-01"),
        ("equals", "space=MNI"),
        ("colon", "C:sub-01"),
        ("n/a like", "n\u2044a"),
        ("plain number", "12345"),
        ("nan", "nan"),
        ("true", "True"),
    ):
        yield named(kind, what, start + end)
    for what, name in (
        ("upper case ending", f"sub-01_{NAME}.NII"),
        ("mixed case ending", f"sub-01_{NAME}.Nii.Gz"),
    ):
        yield named(kind, what, name)
    for what, name in (
        ("nothing but an ending", ".nii"), ("nothing but .nii.gz", ".nii.gz"),
        ("no ending", "map"), ("two endings", "map.nii.nii"), ("dot at the end", "map.nii."),
        ("blank behind the ending", "map.nii "), ("ending .gz alone", "map.gz"),
        ("ending .nii.bz2", "map.nii.bz2"), ("backup", "map.nii~"), ("numbered", "map.nii,1"),
        ("ending .niigz", "map.niigz"), ("table's ending", "map.tsv"),
    ):  # fmt: skip
        yield named(kind, what, name, EITHER)


def _long_names() -> Iterable[Case]:
    kind = "long name"
    end = f"_{NAME}.nii"
    yield named(kind, "255 bytes", "s" * (255 - len(end)) + end)
    yield named(kind, "255 bytes of umlauts", "ü" * ((255 - len(end)) // 2) + end)

    def absent(name: str, path: str) -> Case:
        return Case(kind, name, lambda *_: path, REFUSED)

    yield absent("300 bytes", "s" * 300 + ".nii")
    yield absent("path of 5,000 bytes", "/tmp" + "/long" * 1000 + ".nii")
    yield absent("path of 100,000 bytes", "/tmp" + "/long" * 20_000 + ".nii")
    yield absent("10,000 slashes", "/" * 10_000 + "map.nii")
    yield absent("3,000 times up", "../" * 3000 + "nosuch/map.nii")

    def deep(m: Materials, folder: Path) -> Path:
        place = folder
        for _ in range(15):
            place = place / ("d" * 200)
        place.mkdir(parents=True)
        path = place / f"sub-09_{NAME}.nii"
        path.write_bytes(_plain(m))
        return path

    yield Case(kind, "path of 3,000 bytes that is there", deep)


def _stated(kind: str = "stated by name") -> Iterable[Case]:
    """List names that say what a map is: believed if they agree, refused if they don't."""
    predict = ("predict",)
    for what, name, right in (
        ("other contrast", f"sub-01_contrast-langloc_stat-{STAT}_statmap", REFUSED),
        ("other contrast alone", "sub-01_contrast-langloc_statmap", REFUSED),
        (
            "contrast in upper case",
            f"sub-01_contrast-{CONTRAST.upper()}_stat-{STAT}_statmap",
            EITHER,
        ),
        ("statistic t", f"sub-01_contrast-{CONTRAST}_stat-t_statmap", REFUSED),
        ("statistic effect", f"sub-01_contrast-{CONTRAST}_stat-effect_statmap", REFUSED),
        ("statistic p", f"sub-01_contrast-{CONTRAST}_stat-p_statmap", REFUSED),
        ("statistic variance", f"sub-01_contrast-{CONTRAST}_stat-variance_statmap", REFUSED),
        ("statistic Z", f"sub-01_contrast-{CONTRAST}_stat-Z_statmap", RIGHT),
        ("statistic zscore", f"sub-01_contrast-{CONTRAST}_stat-zscore_statmap", EITHER),
        ("statistic t alone", "sub-01_stat-t_statmap", REFUSED),
        ("space T1w", f"sub-01_space-T1w_contrast-{CONTRAST}_stat-{STAT}_statmap", REFUSED),
        ("space fsLR", f"sub-01_space-fsLR_contrast-{CONTRAST}_stat-{STAT}_statmap", REFUSED),
        ("space orig", f"sub-01_space-orig_contrast-{CONTRAST}_stat-{STAT}_statmap", REFUSED),
        ("space MNI305", f"sub-01_space-MNI305_contrast-{CONTRAST}_stat-{STAT}_statmap", REFUSED),
        (
            "space Talairach",
            f"sub-01_space-Talairach_contrast-{CONTRAST}_stat-{STAT}_statmap",
            REFUSED,
        ),
        (
            "another MNI space",
            f"sub-01_space-MNI152NLin6Asym_contrast-{CONTRAST}_stat-{STAT}_statmap",
            REFUSED,
        ),
        (
            "MNI152, not said which",
            f"sub-01_space-MNI152_contrast-{CONTRAST}_stat-{STAT}_statmap",
            RIGHT,
        ),
        ("all that counts", f"sub-01_space-{SPACE}_contrast-{CONTRAST}_stat-{STAT}_statmap", RIGHT),
        (
            "entities turned about",
            f"sub-01_stat-{STAT}_contrast-{CONTRAST}_space-{SPACE}_statmap",
            RIGHT,
        ),
        ("desc too", f"sub-01_contrast-{CONTRAST}_stat-{STAT}_desc-smoothed_statmap", RIGHT),
        ("contrast twice", f"sub-01_contrast-{CONTRAST}_contrast-langloc_stat-z_statmap", EITHER),
        ("an empty contrast", "sub-01_contrast-_stat-z_statmap", EITHER),
        ("a contrast with dashes", "sub-01_contrast-pressure-other_stat-z_statmap", EITHER),
        ("a contrast and no statistic", f"sub-01_contrast-{CONTRAST}_statmap", RIGHT),
        ("SPM's con", "con_0001", RIGHT),
        ("SPM's T", "spmT_0001", EITHER),
        ("FSL's zstat", "zstat1", RIGHT),
        ("FSL's tstat", "tstat1", EITHER),
        ("FSL's cope", "cope1", EITHER),
        ("a BOLD run", "sub-01_task-pain_bold", REFUSED),
        ("anatomy", "sub-01_T1w", ANY),
        ("nothing", "map", frozenset({"note"})),
    ):
        yield named(kind, what, f"{name}.nii", right, doors=predict)
    for space, right in ((SPACE, RIGHT), ("MNI152", RIGHT), ("", REFUSED)):
        yield named(
            kind,
            f"--space '{space}' over space-T1w",
            f"sub-01_space-T1w_contrast-{CONTRAST}_stat-z_statmap.nii",
            right,
            doors=predict,
            options=("--space", space),
        )


def _things() -> Iterable[Case]:
    """List what isn't a file, or isn't there."""
    kind = "thing"

    def thing(name: str, make: Callable[[Path, Materials], Any], right: Answers = REFUSED) -> Case:
        def built(m: Materials, folder: Path) -> Any:
            path = folder / f"sub-09_{NAME}.nii.gz"
            made = make(path, m)
            return made if isinstance(made, Path | str) else path

        return Case(kind, name, built, right)

    def copied(path: Path, m: Materials) -> Path:
        path.write_bytes(pack_gzip(_plain(m)))
        return path

    yield thing("FIFO", lambda p, _: os.mkfifo(p))
    for device in ("zero", "null", "random", "full", "stdin", "tty"):
        yield thing(f"link to /dev/{device}", lambda p, _, d=device: p.symlink_to(f"/dev/{d}"))
    for device in ("zero", "null", "urandom"):
        yield Case(kind, f"/dev/{device} itself", lambda *_, d=device: f"/dev/{d}", REFUSED)
    yield thing(
        "character device", lambda p, _: os.mknod(p, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    )
    yield thing("block device", lambda p, _: os.mknod(p, 0o600 | stat.S_IFBLK, os.makedev(7, 250)))
    yield thing("socket", _socket)
    yield thing("link to /proc/self/mem", lambda p, _: p.symlink_to("/proc/self/mem"))
    yield thing("link to /proc/self/maps", lambda p, _: p.symlink_to("/proc/self/maps"))
    yield thing("link to /proc/kmsg", lambda p, _: p.symlink_to("/proc/kmsg"))
    yield thing("folder", lambda p, _: p.mkdir())
    yield thing("link to itself", lambda p, _: p.symlink_to(p))
    yield thing("two links to each other", _two_links)
    yield thing("dangling link", lambda p, _: p.symlink_to("nosuch.nii.gz"))
    yield thing(
        "DataLad link without content",
        lambda p, _: p.symlink_to("../.git/annex/objects/x/y/z.nii.gz"),
    )
    yield thing("git-annex pointer", lambda p, _: p.write_bytes(ANNEX_POINTER))
    yield thing("Git LFS pointer", lambda p, _: p.write_bytes(LFS_POINTER))
    yield thing("empty file", lambda p, _: p.touch())
    yield thing("link to a map", lambda p, m: p.symlink_to(m.maps[0]), RIGHT)
    yield thing("40 links to a map", _chain, EITHER)
    yield thing(
        "hard link", lambda p, m: os.link(shutil.copy(m.maps[0], p.with_name("x.gz")), p), RIGHT
    )
    yield thing("nothing there", lambda *_: None)
    yield thing("a file as folder", lambda p, m: copied(p, m) / "map.nii")
    yield thing("slash at the end", lambda p, m: f"{copied(p, m)}/", EITHER)
    yield thing("in a folder that isn't there", lambda p, _: p.parent / "nosuch" / "map.nii")
    yield thing(
        "dots in the path",
        lambda p, m: f"{copied(p, m).parent}/./../{p.parent.name}/{p.name}",
        RIGHT,
    )
    yield thing("URL", lambda *_: "https://example.org/map.nii.gz")
    yield thing("file URL", lambda p, m: f"file://{copied(p, m)}", EITHER)
    yield thing("S3", lambda *_: "s3://bucket/map.nii.gz")
    yield thing("Windows path", lambda *_: "C:\\data\\map.nii")
    yield thing("share", lambda *_: "\\\\server\\share\\map.nii")
    yield thing("home", lambda *_: "~/nosuch-map.nii")


def _socket(path: Path, _: Materials) -> None:
    here = os.open(".", os.O_RDONLY)  # names of sockets are at most 108 bytes long
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("s")
        os.rename("s", path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _two_links(path: Path, _: Materials) -> None:
    other = path.with_name("other.nii.gz")
    path.symlink_to(other)
    other.symlink_to(path)


def _chain(path: Path, m: Materials) -> None:
    last = m.maps[0]
    for number in range(39):
        link = path.with_name(f"link{number}")
        link.symlink_to(last)
        last = link
    path.symlink_to(last)


def _other_formats() -> Iterable[Case]:
    kind = "other format"
    for name, content in (
        ("text", b"participant_id\tgroup\nsub-01\tFM\n"),
        ("HTML", b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20),
        ("PNG", b"\x89PNG\r\n\x1a\n" + b"\0" * 600),
        ("NumPy", b"\x93NUMPY\x01\0v\0{'descr': '<f4'}" + b" " * 600),
        ("HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 600),
        ("MATLAB", b"MATLAB 5.0 MAT-file" + b" " * 600),
        ("MGH", b"\0\0\0\1\0\0\0\x10" + b"\0" * 600),
        ("GIFTI", b"<?xml version='1.0'?><GIFTI Version='1.0'></GIFTI>" + b" " * 600),
        ("DICOM", b"\0" * 128 + b"DICM" + b"\0" * 600),
        ("NRRD", b"NRRD0004\ntype: float\n" + b"\0" * 600),
        ("zip", b"PK\3\4" + b"\0" * 600),
        ("pickle", b"\x80\4c" + b"os\nsystem\n(S'true'\ntR." + b"." * 600),
        ("zeros", b"\0" * 10_000),
        ("ones", b"\xff" * 10_000),
    ):
        for end in (".nii", ".nii.gz"):
            yield file_case(kind, f"{name} as {end}", lambda _, c=content: c, REFUSED, end=end)
        yield file_case(
            kind, f"{name}, compressed", lambda _, c=content: pack_gzip(c), REFUSED, end=".nii.gz"
        )
    yield file_case(
        kind, "CIFTI, which is NIfTI-2", lambda m: nifti(
            m.data, m.affine, version=2, dim=[6, 1, 1, 1, 1, 36, 45 * 39, 1], intent_code=3006,
        ), REFUSED, end=".dscalar.nii",
    )  # fmt: skip
    for end in (".mgz", ".mnc", ".nrrd", ".dcm", ".mat", ".gii", ".HEAD", ".txt", ""):
        yield file_case(kind, f"a map named {end or 'without ending'}", _plain, REFUSED, end=end)


def _arguments() -> Iterable[Case]:
    """List arguments of the command that name no single map."""
    kind = "argument"

    def argument(name: str, text: str, right: Answers = REFUSED, **more: Any) -> Case:
        def make(m: Materials, folder: Path) -> str:
            path = folder / f"sub-09_{NAME}.nii"
            path.write_bytes(_plain(m))
            return text.format(path)

        return Case(kind, name, make, right, ("predict",), **more)

    yield argument("empty", "")
    yield argument("a blank", " ")
    yield argument("a comma", ",")
    yield argument("commas", ",,,,")
    yield argument("a newline", "\n")
    yield argument("the same map twice", "{0},{0}")
    yield argument("a comma behind", "{0},", EITHER)
    yield argument("a thousand maps of one scan", ",".join(["{0}"] * 1000))
    yield argument("quotes around", "'{0}'", EITHER)
    yield argument("escape sequence", "\x1b]0;owned\x07")
    yield argument("not UTF-8", "\udcff\udcfe.nii")
