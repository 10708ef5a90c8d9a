"""Folders: each person in them has to have a row in predict and a place in a study's account."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus.answers import EITHER, NO_SCORE, REFUSED, RIGHT, Answers
from benchmarks.corpus.case import GROUPS, PEOPLE, Case, Materials
from benchmarks.corpus.craft import nifti, pack_gzip, split_pair
from benchmarks.corpus.names import ANNEX_POINTER
from fmnet.synthetic.cohort_folder import SPACE

DOORS = ("tree", "tree training", "app")
ENTITIES = f"space-{SPACE}_contrast-pressure_stat-z"
Change = Callable[[Path, Materials], Any]


def tree_cases() -> list[Case]:
    """List every case that is about a folder."""
    parts = (_spellings, _layouts, _levels, _people, _strangers, _shapes, _tables_beside)
    return [case for part in parts for case in part()]


def map_of(root: Path, person: str) -> Path:
    """Name a person's map in the plain tree."""
    return root / person / "func" / f"{person}_{ENTITIES}_statmap.nii.gz"


def plain_tree(root: Path, m: Materials) -> None:
    """Write `PEOPLE`, each with one map."""
    rows = ["participant_id\tgroup", *map("\t".join, zip(PEOPLE, GROUPS, strict=True))]
    root.mkdir()
    (root / "participants.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    (root / "dataset_description.json").write_text('{"Name": "maps", "BIDSVersion": "1.10.0"}')
    for person, source in zip(PEOPLE, m.maps, strict=True):
        target = map_of(root, person)
        target.parent.mkdir(parents=True)
        os.link(source, target)


def tree(
    name: str,
    change: Change,
    right: Answers = RIGHT,
    kind: str = "tree",
    people: Mapping[str, Answers] | None = None,
    doors: tuple[str, ...] = DOORS,
    training: Answers | None = None,
) -> Case:
    """Build a case of a tree that is plain but for ``change(root, materials)``."""

    def make(m: Materials, folder: Path) -> Path:
        root = folder / "maps"
        plain_tree(root, m)
        changed = change(root, m)
        return changed if isinstance(changed, Path) else root

    return Case(kind, name, make, right, doors, training=training, people=people or {})


def renamed(ending: Callable[[Path], str], packed: bool = True) -> Change:
    """Give every map another name in its folder."""

    def change(root: Path, m: Materials) -> None:
        for person in PEOPLE:
            path = map_of(root, person)
            target = path.with_name(ending(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            if packed:
                path.rename(target)
            else:
                target.write_bytes(_content(m, person))
                path.unlink()

    return change


def _content(m: Materials, person: str, factor: float = 1.0) -> bytes:
    values, affine = m.volumes[PEOPLE.index(person)]
    return nifti(values * np.float32(factor), affine)


def _spellings() -> Iterable[Case]:
    kind = "tree, spelling"

    def name(text: str) -> Callable[[Path], str]:
        return lambda path: text.format(path.name.split("_", 1)[0])

    whole = f"{{}}_{ENTITIES}"
    for what, text, packed in (
        (".NII.GZ", f"{whole}_statmap.NII.GZ", True),
        (".nii", f"{whole}_statmap.nii", False),
        (".NII", f"{whole}_statmap.NII", False),
        ("STATMAP", f"{whole}_STATMAP.nii.gz", True),
        ("_zmap", f"{{}}_space-{SPACE}_contrast-pressure_zmap.nii.gz", True),
        ("_zmap.nii", f"{{}}_space-{SPACE}_contrast-pressure_zmap.nii", False),
        ("stat-zmap", f"{{}}_space-{SPACE}_contrast-pressure_stat-zmap.nii.gz", True),
        ("stat before contrast", "{}_stat-z_contrast-pressure_statmap.nii.gz", True),
        ("no statistic", f"{{}}_space-{SPACE}_contrast-pressure_statmap.nii.gz", True),
        ("no space", "{}_contrast-pressure_stat-z_statmap.nii.gz", True),
        ("task and run", f"{{}}_task-pain_run-1_{ENTITIES}_statmap.nii.gz", True),
        ("zero-padded run", f"{{}}_task-pain_run-01_{ENTITIES}_statmap.nii.gz", True),
        ("echo", f"{{}}_task-pain_echo-1_{ENTITIES}_statmap.nii.gz", True),
        (
            "res",
            f"{{}}_task-pain_space-{SPACE}_res-2_contrast-pressure_stat-z_statmap.nii.gz",
            True,
        ),
        ("desc", f"{{}}_{ENTITIES}_desc-smoothed_statmap.nii.gz", True),
        ("node", f"{{}}_node-subjectLevel_{ENTITIES}_statmap.nii.gz", True),
    ):
        # a map that isn't taken has to be named
        may_ask = what in {"no statistic", "STATMAP", "_zmap", "_zmap.nii", "stat-zmap"}
        yield tree(what, renamed(name(text), packed), EITHER if may_ask else RIGHT, kind)

    yield tree(".img/.hdr", _pairs, kind=kind)
    yield tree(".img.gz/.hdr.gz", lambda r, m: _pairs(r, m, ".gz"), kind=kind)
    yield tree(".IMG/.HDR", lambda r, m: _pairs(r, m, upper=True), kind=kind)

    for what, text, packed in (
        (".NII.GZ", f"{whole}_statmap.NII.GZ", True),
        ("_zmap.nii", f"{{}}_space-{SPACE}_contrast-pressure_zmap.nii", False),
        (".Nii", f"{whole}_statmap.Nii", False),
    ):
        yield tree(
            f"{what} of _one person among others",
            _one("sub-03", text, packed),
            kind=kind,
            people={"sub-03": EITHER},
        )
    for what, text in (
        ("escape sequence", f"{{}}_acq-\x1b[31mx_{ENTITIES}_statmap.nii.gz"),
        ("newline", f"{{}}_acq-a\nb_{ENTITIES}_statmap.nii.gz"),
        ("Latin-1", f"{{}}_acq-m\udcfcller_{ENTITIES}_statmap.nii.gz"),
        ("emoji", f"{{}}_acq-\U0001f9e0_{ENTITIES}_statmap.nii.gz"),
        ("blank", f"{{}}_acq-a b_{ENTITIES}_statmap.nii.gz"),
        ("formula", f"{{}}_acq-=1+1_{ENTITIES}_statmap.nii.gz"),
    ):
        yield tree(
            f"{what} in the name of one", _one("sub-03", text), kind=kind, people={"sub-03": EITHER}
        )


def _pairs(root: Path, m: Materials, end: str = "", upper: bool = False) -> None:
    for person in PEOPLE:
        path = map_of(root, person)
        stem = Path(str(path).removesuffix(".nii.gz"))
        values, affine = m.volumes[PEOPLE.index(person)]
        image = split_pair(nifti(values, affine, pair=True), stem, packed=bool(end))
        if upper:
            for part in (image, image.with_suffix(".hdr")):
                part.rename(part.with_suffix(part.suffix.upper()))
        path.unlink()


def _one(person: str, text: str, packed: bool = True) -> Change:
    def change(root: Path, m: Materials) -> None:
        path = map_of(root, person)
        target = path.with_name(text.format(person))
        target.write_bytes(pack_gzip(_content(m, person)) if packed else _content(m, person))
        path.unlink()

    return change


def _layouts() -> Iterable[Case]:
    kind = "tree, layout"

    yield tree("no func folder", _moved("{0}"), kind=kind)
    yield tree("all in one folder", _moved("."), kind=kind)
    yield tree("a session folder", _moved("{0}/ses-01/func"), kind=kind)
    yield tree("deep below", _moved("a/b/c/d/e/f/{0}/func"), kind=kind)
    yield tree("folder with a blank and an umlaut", _moved("Köln 1/{0}/func"), kind=kind)
    yield tree("folder of another person", _moved("sub-99/func"), EITHER, kind)
    yield tree("hidden folder", _moved(".git/{0}"), NO_SCORE, kind)

    yield tree("two _sessions each", _sessions, RIGHT | {"other score"}, kind)
    yield tree("given by a link", lambda r, _: _linked(r), kind=kind)
    yield tree("given with dots", lambda r, _: r / ".." / r.name, kind=kind)

    yield tree("people's folders are links", _linked_people, EITHER, kind)

    yield tree("DataLad with contents", _linked_files, kind=kind)
    yield tree("DataLad without contents", lambda r, _: _emptied(r, PEOPLE), NO_SCORE, kind)
    yield tree(
        "DataLad without contents of one",
        lambda r, _: _emptied(r, ("sub-02",)),
        kind=kind,
        people={"sub-02": REFUSED},
    )


def _moved(place: str) -> Change:
    def change(root: Path, _: Materials) -> None:
        for person in PEOPLE:
            path = map_of(root, person)
            target = root / place.format(person) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

    return change


def _sessions(root: Path, m: Materials) -> None:
    for person, number in ((p, n) for p in PEOPLE for n in (1, 2)):
        name = f"{person}_ses-{number}_{ENTITIES}_statmap.nii.gz"
        target = root / person / f"ses-{number}" / "func" / name
        target.parent.mkdir(parents=True)
        source = m.maps[PEOPLE.index(person)]
        if number == 1:
            os.link(source, target)
        else:
            target.write_bytes(pack_gzip(_content(m, person, 1.01)))
    for person in PEOPLE:
        map_of(root, person).unlink()


def _linked_people(root: Path, _: Materials) -> None:
    store = root.with_name("store")
    store.mkdir()
    for person in PEOPLE:
        (root / person).rename(store / person)
        (root / person).symlink_to(store / person)


def _linked_files(root: Path, _: Materials) -> None:
    store = root / ".git" / "annex" / "objects"
    store.mkdir(parents=True)
    for person in PEOPLE:
        path = map_of(root, person)
        path.rename(store / f"{person}.nii.gz")
        path.symlink_to(store / f"{person}.nii.gz")


def _linked(root: Path) -> Path:
    link = root.with_name("link")
    link.symlink_to(root)
    return link


def _emptied(root: Path, people: Iterable[str]) -> None:
    for person in people:
        path = map_of(root, person)
        path.unlink()
        path.symlink_to("../../.git/annex/objects/xx/yy/MD5E-s1--0/MD5E-s1--0.nii.gz")


def _levels() -> Iterable[Case]:
    """List maps of a person that are no repetitions: one level, or a choice asked for."""
    kind = "tree, levels"

    def added(*texts: str, factor: float = 0.9) -> Change:
        def change(root: Path, m: Materials) -> None:
            for person in PEOPLE:
                for number, text in enumerate(texts, 1):
                    path = map_of(root, person).with_name(f"{person}_{text}.nii.gz")
                    path.write_bytes(pack_gzip(_content(m, person, 1 - (1 - factor) * number)))

        return change

    runs = [f"node-runLevel_task-pain_run-{n}_{ENTITIES}_statmap" for n in (1, 2)]
    # a choice is asked for, or the subject's level is taken; run level beside it is wrong
    yield tree("run level beside subject level", added(*runs), EITHER, kind)
    yield tree(
        "run level beside node-subjectLevel",
        _then(
            renamed(
                lambda p: f"{p.name.split('_')[0]}_node-subjectLevel_{ENTITIES}_statmap.nii.gz"
            ),
            added(*runs),
        ),
        EITHER,
        kind,
    )
    yield tree("two resolutions", added(f"{ENTITIES}_res-2_statmap"), EITHER, kind)
    yield tree("two reconstructions", added(f"rec-a_{ENTITIES}_statmap"), EITHER, kind)
    yield tree("with and without desc", added(f"{ENTITIES}_desc-smoothed_statmap"), EITHER, kind)
    yield tree("two echoes", added(f"echo-2_{ENTITIES}_statmap"), EITHER, kind)
    yield tree("two hemispheres", added(f"hemi-L_{ENTITIES}_statmap"), EITHER, kind)
    yield tree(
        "another statistic", added(f"space-{SPACE}_contrast-pressure_stat-t_statmap"), RIGHT, kind
    )
    yield tree(
        "effect and variance too",
        added(
            *[
                f"space-{SPACE}_contrast-pressure_stat-{s}_statmap"
                for s in ("effect", "variance", "p")
            ]
        ),
        RIGHT,
        kind,
    )
    yield tree(
        "another contrast", added(f"space-{SPACE}_contrast-visual_stat-z_statmap"), RIGHT, kind
    )
    yield tree(
        "another space",
        added("space-T1w_contrast-pressure_stat-z_statmap"),
        EITHER,
        kind,
        training=EITHER,
    )
    yield tree("the same maps as .nii and .nii.gz", _twice, EITHER, kind)


def _then(*changes: Change) -> Change:
    def change(root: Path, m: Materials) -> None:
        for one in changes:
            one(root, m)

    return change


def _twice(root: Path, m: Materials) -> None:
    for person in PEOPLE:
        path = map_of(root, person)
        path.with_suffix("").write_bytes(_content(m, person))


def _people() -> Iterable[Case]:
    """List a person's bad map: a row with the reason, and the others' scores."""
    kind = "tree, one person"

    def given(
        what: str,
        write: Callable[[Path, Materials], Any],
        right: Answers = REFUSED,
        person: str = "sub-02",
    ) -> Case:
        def change(root: Path, m: Materials) -> None:
            path = map_of(root, person)
            if person in PEOPLE:
                path.unlink()
            else:
                path.parent.mkdir(parents=True)
                with (root / "participants.tsv").open("a") as table:
                    table.write(f"{person}\tFM\n")
            write(path, m)

        return tree(what, change, kind=kind, people={person: right})

    yield given("no map", lambda *_: None)
    yield given("no func folder", lambda p, _: p.parent.rmdir())
    yield given("no map, new person", lambda *_: None, person="sub-05")
    yield given("an empty folder, new person", lambda p, _: p.parent.rmdir(), person="sub-05")
    yield given(
        "other files alone",
        lambda p, _: p.with_name("sub-05_task-rest_bold.json").write_text("{}"),
        person="sub-05",
    )
    yield given("empty file", lambda p, _: p.touch())
    yield given("garbage", lambda p, _: p.write_bytes(b"garbage" * 100))
    yield given("truncated", lambda p, m: p.write_bytes(pack_gzip(_content(m, "sub-02"))[:3000]))
    yield given("FIFO", lambda p, _: os.mkfifo(p))
    yield given("folder", lambda p, _: p.mkdir())
    yield given("link to itself", lambda p, _: p.symlink_to(p))
    yield given("link to /dev/zero", lambda p, _: p.symlink_to("/dev/zero"))
    yield given("dangling link", lambda p, _: p.symlink_to("nosuch"))
    yield given("git-annex pointer", lambda p, _: p.write_bytes(ANNEX_POINTER))
    yield given(
        "values of 1e5", lambda p, m: p.write_bytes(pack_gzip(_content(m, "sub-02", 1e5))), NO_SCORE
    )
    yield given("all zeros", lambda p, m: p.write_bytes(pack_gzip(_content(m, "sub-02", 0.0))))
    yield given("all NaN", lambda p, m: p.write_bytes(pack_gzip(_content(m, "sub-02", np.nan))))
    yield given(
        "p values by intent",
        lambda p, m: p.write_bytes(pack_gzip(nifti(*m.volumes[1], intent_code=22))),
    )
    yield given("micrometres", lambda p, m: p.write_bytes(_micron(m)), RIGHT)
    yield given(
        "another contrast alone",
        lambda p, m: os.link(m.maps[1], p.with_name(p.name.replace("pressure", "visual"))),
        EITHER,
    )
    yield given(
        "another statistic alone",
        lambda p, m: os.link(m.maps[1], p.with_name(p.name.replace("stat-z", "stat-t"))),
        NO_SCORE,
    )
    yield given(
        "another space alone",
        lambda p, m: os.link(m.maps[1], p.with_name(p.name.replace(SPACE, "T1w"))),
        NO_SCORE,
    )
    yield given(
        "a BOLD run alone",
        lambda p, m: os.link(m.maps[1], p.with_name("sub-02_task-pain_bold.nii.gz")),
        NO_SCORE,
    )
    yield given(
        "half of a pair",
        lambda p, _: p.with_name(p.name.replace(".nii.gz", ".img")).write_bytes(b"\0" * 1000),
        NO_SCORE,
    )


def _micron(m: Materials) -> bytes:
    values, affine = m.volumes[1]
    return pack_gzip(nifti(values, np.diag([1e3, 1e3, 1e3, 1]) @ affine, xyzt_units=3))


def _strangers() -> Iterable[Case]:
    """List other things in the folder, which are nobody's maps."""
    kind = "tree, others"

    def beside(what: str, write: Callable[[Path, Materials], Any], right: Answers = RIGHT) -> Case:
        return tree(what, lambda r, m: _done(write(r, m)), right, kind)

    yield beside(
        "group maps",
        lambda r, m: _linked_to(m, r / "group" / "contrast-pressure_stat-z_statmap.nii.gz"),
    )
    yield beside(
        "hidden copies",
        lambda r, m: _linked_to(m, r / ".tmp" / f"sub-09_{ENTITIES}_statmap.nii.gz"),
    )
    yield beside(
        "AppleDouble files",
        lambda r, _: [
            map_of(r, p).with_name(f"._{map_of(r, p).name}").write_bytes(b"\0\5\x16\7" * 20)
            for p in PEOPLE
        ],
    )
    yield beside(
        "JSON beside the maps",
        lambda r, _: [map_of(r, p).with_name("x_statmap.json").write_text("{") for p in PEOPLE],
    )
    yield beside("a file named as a person", lambda r, _: (r / "sub-07").write_text("x"), RIGHT)
    yield beside("a FIFO", lambda r, _: os.mkfifo(r / "pipe"))
    yield beside("a link to the tree itself", lambda r, _: (r / "loop").symlink_to(r))
    yield beside(
        "a person's folder that is a link to the tree",
        lambda r, _: (r / "sub-08").symlink_to(r),
        EITHER,
    )
    yield beside("a link to /", lambda r, _: (r / "root").symlink_to("/"))
    yield beside("3,000 other files", lambda r, _: _many(r, Path.touch))
    yield beside("3,000 other folders", lambda r, _: _many(r, Path.mkdir))
    yield beside("names that aren't UTF-8", lambda r, _: (r / "\udcff\udcfe.nii").touch())
    yield beside("a folder named .nii.gz", lambda r, _: (r / "x.nii.gz").mkdir())
    for what, content in (
        ("damaged", b"{"),
        ("empty", b""),
        ("a list", b"[]"),
        ("not UTF-8", b"\xff\xfe{}"),
        ("nested 100,000 deep", b'{"a":' * 100_000),
        ("brackets 100,000 deep", b"[" * 100_000),
        ("of NULs", b"\0" * 1000),
        ("number of 10,000 digits", b'{"Name": ' + b"1" * 10_000 + b"}"),
        ("control characters", b'{"Name": "\\u001b[31m"}'),
    ):
        yield beside(
            f"dataset_description.json {what}",
            lambda r, _, c=content: (r / "dataset_description.json").write_bytes(c),
            EITHER,
        )

    def replaced(what: str, write: Callable[[Path], Any]) -> Case:
        def change(root: Path, _: Materials) -> None:
            path = root / "dataset_description.json"
            path.unlink()
            write(path)

        return tree(f"dataset_description.json {what}", change, EITHER, kind)

    yield replaced("is a FIFO", os.mkfifo)
    yield replaced("is /dev/zero", lambda p: p.symlink_to("/dev/zero"))
    yield replaced("is a folder", Path.mkdir)
    yield replaced("is missing", lambda _: None)


def _many(root: Path, make: Callable[[Path], Any]) -> None:
    for number in range(3000):
        make(root / f"x{number}")


def _done(_: Any) -> None:
    """Take the tree as it is, whatever was written into it."""


def _linked_to(m: Materials, path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.link(m.maps[0], path)


def _shapes() -> Iterable[Case]:
    kind = "tree, shape"

    def deep(n: int) -> Change:
        def change(root: Path, _: Materials) -> None:
            here = os.open(".", os.O_RDONLY)
            try:
                os.chdir(root)
                for _level in range(n):
                    os.mkdir("d")
                    os.chdir("d")
            finally:
                os.fchdir(here)
                os.close(here)

        return change

    yield tree("30 folders deep", deep(30), kind=kind)
    yield tree("100 folders deep", deep(100), EITHER, kind)
    yield tree("900 folders deep", deep(900), EITHER, kind)
    yield tree("1,500 folders deep", deep(1500), EITHER, kind)
    yield tree("3,000 folders deep", deep(3000), EITHER, kind)
    yield tree("empty", lambda r, _: _cleared(r), NO_SCORE, kind)
    yield tree("no folder", lambda r, _: shutil.rmtree(r), NO_SCORE, kind)
    yield tree("people without maps", lambda r, _: _emptied_folders(r), NO_SCORE, kind)
    yield tree("raw data", lambda r, _: _raw(r), NO_SCORE, kind)
    yield tree(
        "no person's prefix",
        lambda r, _: [p.rename(r / p.name[4:]) for p in list(r.glob("sub-*"))] and None,
        EITHER,
        kind,
    )


def _cleared(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def _emptied_folders(root: Path) -> None:
    for person in PEOPLE:
        map_of(root, person).unlink()


def _raw(root: Path) -> None:
    for person in PEOPLE:
        map_of(root, person).rename(
            map_of(root, person).with_name(f"{person}_task-pain_bold.nii.gz")
        )


def _tables_beside() -> Iterable[Case]:
    """List participants tables of a tree, which predict doesn't need."""
    kind = "tree, participants"
    training = ("tree training",)
    plain = ["participant_id\tgroup", *map("\t".join, zip(PEOPLE, GROUPS, strict=True))]

    def table(
        what: str,
        write: Callable[[Path], Any],
        right: Answers = RIGHT,
        doors: tuple[str, ...] = training,
        **more: Any,
    ) -> Case:
        def change(root: Path, _: Materials) -> None:
            path = root / "participants.tsv"
            path.unlink()
            write(path)

        return tree(what, change, right, kind, doors=doors, **more)

    text = "\n".join(plain) + "\n"
    yield table("missing", lambda _: None, REFUSED)
    yield table("missing, which predict doesn't mind", lambda _: None, RIGHT, ("tree",))
    yield table("a FIFO, which predict doesn't mind", os.mkfifo, EITHER, ("tree",))
    yield table("a FIFO", os.mkfifo, REFUSED)
    yield table("/dev/zero", lambda p: p.symlink_to("/dev/zero"), REFUSED)
    yield table("a dangling link", lambda p: p.symlink_to("nosuch"), REFUSED)
    yield table("a folder", Path.mkdir, REFUSED)
    yield table(
        "no group column", lambda p: p.write_text(text.replace("group", "diagnosis")), REFUSED
    )
    yield table("nobody of it here", lambda p: p.write_text(text.replace("sub-", "sub-x")), REFUSED)
    yield table(
        "somebody too many",
        lambda p: p.write_text(text + "sub-05\tFM\n"),
        people={"sub-05": REFUSED},
    )
    yield table(
        "byte-order mark and CRLF",
        lambda p: p.write_text("\ufeff" + text.replace("\n", "\r\n"), newline=""),
    )
    yield table(
        "100 further columns",
        lambda p: p.write_text(
            "".join(
                line + "\t1" * 100 + "\n"
                if n
                else line + "".join(f"\tc{k}" for k in range(100)) + "\n"
                for n, line in enumerate(plain)
            )
        ),
    )
    yield table(
        "described by damaged JSON",
        lambda p: (p.write_text(text), p.with_suffix(".json").write_text("{")),
        EITHER,
    )
    yield table(
        "described by deep JSON",
        lambda p: (
            p.write_text(text),
            p.with_suffix(".json").write_text(json.dumps({"a": 1})[:-1] + ',"b":' + "[" * 100_000),
        ),
        EITHER,
    )
