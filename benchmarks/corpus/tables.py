"""Tables: of images, as predict and training read them, and of participants."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.corpus.answers import EITHER, NO_SCORE, REFUSED, RIGHT, Answers
from benchmarks.corpus.case import GROUPS, PEOPLE, Case, Materials, TableInput
from fmnet.synthetic.cohort_folder import SPACE

Rows = list[list[str]]
HEADER = ["participant_id", "contrast", "path", "group"]
TABLE = ("table", "table training")
TRAINING = ("table training",)


def table_cases() -> list[Case]:
    """List every case that is about tables."""
    parts = (_encodings, _separators, _columns, _rows, _ids, _paths, _cells, _things, _sizes,
             _participants, _labels, _covariates)  # fmt: skip
    return [case for part in parts for case in part()]


def _image_rows(m: Materials) -> Rows:
    rows = zip(PEOPLE, m.maps, GROUPS, strict=True)
    return [HEADER, *([person, "pressure", str(path), group] for person, path, group in rows)]


def joined(rows: Sequence[Sequence[str]], separator: str = "\t", end: str = "\n") -> str:
    """Write rows as text."""
    return "".join(separator.join(row) + end for row in rows)


def images(
    kind: str,
    name: str,
    change: Callable[[Rows, Path], Rows | str | bytes],
    right: Answers = RIGHT,
    end: str = ".tsv",
    doors: tuple[str, ...] = TABLE,
    settings: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    """Build a case of a table of images, ``change(rows, folder)`` of a plain one."""

    def make(m: Materials, folder: Path) -> TableInput:
        table = folder / f"images{end}"
        content = change(_image_rows(m), folder)
        if isinstance(content, list):
            content = joined(content)
        table.write_bytes(content.encode() if isinstance(content, str) else content)
        return TableInput(table, settings=settings)

    return Case(kind, name, make, right, doors, **more)


def people(
    kind: str,
    name: str,
    content: str | bytes | Sequence[Sequence[str]],
    right: Answers = RIGHT,
    settings: dict[str, Any] | None = None,
    end: str = ".tsv",
    **more: Any,
) -> Case:
    """Build a case of a table of participants beside a plain one of images."""

    def make(m: Materials, folder: Path) -> TableInput:
        table, participants = folder / "images.tsv", folder / f"participants{end}"
        table.write_text(joined([row[:3] for row in _image_rows(m)]), "utf-8")
        text = content if isinstance(content, str | bytes) else joined(content)
        participants.write_bytes(text.encode() if isinstance(text, str) else text)
        return TableInput(table, participants, settings)

    return Case(kind, name, make, right, TRAINING, **more)


def _encodings() -> Iterable[Case]:
    kind = "table, encoding"
    for encoding, right in (
        ("utf-8-sig", RIGHT), ("utf-16", EITHER), ("utf-16-le", REFUSED), ("utf-32", EITHER),
        ("utf-7", EITHER),
    ):  # fmt: skip
        yield images(kind, encoding, lambda r, _, e=encoding: joined(r).encode(e), right)
    for encoding in ("latin-1", "cp1252", "mac-roman", "cp437"):
        yield images(
            kind, f"{encoding} in a column of names",
            lambda r, _, e=encoding: joined(_with_column(r, "name", "Müller")).encode(e), EITHER,
        )  # fmt: skip
    yield images(kind, "invalid UTF-8", lambda r, _: joined(r).encode() + b"\xff\xfe\n", EITHER)
    yield images(kind, "CRLF", lambda r, _: joined(r, end="\r\n"))
    yield images(kind, "CR alone", lambda r, _: joined(r, end="\r"), EITHER)
    yield images(kind, "mixed line ends", lambda r, _: joined(r[:2], end="\r\n") + joined(r[2:]))
    yield images(kind, "no line end at the end", lambda r, _: joined(r)[:-1])
    yield images(kind, "blank lines", lambda r, _: "\n\n" + joined(r, end="\n\n\n"))
    yield images(
        kind, "two byte-order marks", lambda r, _: b"\xef\xbb\xbf" * 2 + joined(r).encode(), EITHER
    )
    yield images(
        kind, "line separator U+2028 in a cell", lambda r, _: _with_column(r, "note", "a\u2028b")
    )
    yield images(
        kind, "vertical tab in a cell", lambda r, _: _with_column(r, "note", "a\x0bb"), EITHER
    )
    yield images(kind, "NULs behind", lambda r, _: joined(r) + "\0" * 100, EITHER)
    yield images(kind, "a NUL in a cell", lambda r, _: _with_column(r, "note", "a\0b"), EITHER)
    yield images(kind, "only NULs", lambda *_: "\0" * 1000, REFUSED)
    yield images(kind, "Ctrl-Z at the end", lambda r, _: joined(r) + "\x1a", EITHER)


def _with_column(rows: Rows, name: str, value: str) -> Rows:
    return [[*row, value if number else name] for number, row in enumerate(rows)]


def _separators() -> Iterable[Case]:
    kind = "table, separators"
    yield images(kind, "commas in .csv", lambda r, _: joined(r, ","), end=".csv")
    yield images(kind, "commas in .CSV", lambda r, _: joined(r, ","), end=".CSV")
    yield images(kind, "tabs in .TSV", lambda r, _: joined(r), end=".TSV")
    yield images(kind, "semicolons in .csv", lambda r, _: joined(r, ";"), EITHER, end=".csv")
    yield images(kind, "commas in .tsv", lambda r, _: joined(r, ","), EITHER)
    yield images(kind, "tabs in .csv", lambda r, _: joined(r), EITHER, end=".csv")
    yield images(kind, "blanks", lambda r, _: joined(r, "  "), REFUSED)
    yield images(kind, "pipes", lambda r, _: joined(r, "|"), REFUSED)
    yield images(kind, "quoted", lambda r, _: joined([[f'"{c}"' for c in row] for row in r]))
    yield images(
        kind,
        "quoted with commas",
        lambda r, _: joined([[f'"{c}"' for c in row] for row in r], ","),
        end=".csv",
    )
    yield images(
        kind, "quote not closed", lambda r, _: joined(_with_column(r, "note", '"open')), EITHER
    )
    yield images(
        kind,
        "inch sign in a cell",
        lambda r, _: joined(_with_column(r, "note", '5" screen')),
        EITHER,
    )
    yield images(kind, "tab at the end of rows", lambda r, _: joined(r, end="\t\n"))
    yield images(
        kind, "tab at the end of data alone", lambda r, _: joined(r[:1]) + joined(r[1:], end="\t\n")
    )
    yield images(kind, "blanks around cells", lambda r, _: [[f"  {c} " for c in row] for row in r])
    yield images(
        kind, "Excel's sep line", lambda r, _: "sep=,\n" + joined(r, ","), EITHER, end=".csv"
    )
    yield images(
        kind, "newline in a quoted cell", lambda r, _: joined(_with_column(r, "note", '"a\nb"'))
    )


def _columns() -> Iterable[Case]:
    kind = "table, columns"

    def renamed(old: str, new: str) -> Callable[[Rows, Path], Rows]:
        return lambda r, _: [[new if cell == old else cell for cell in r[0]], *r[1:]]

    def without(name: str) -> Callable[[Rows, Path], Rows]:
        place = HEADER.index(name)
        return lambda r, _: [row[:place] + row[place + 1 :] for row in r]

    yield images(kind, "without contrast", without("contrast"))
    yield images(kind, "without path", without("path"), REFUSED)
    yield images(kind, "without participant_id", without("participant_id"), REFUSED)
    yield images(kind, "without group", without("group"), REFUSED, doors=TRAINING)
    yield images(
        kind, "participant_id in upper case", renamed("participant_id", "Participant_ID"), EITHER
    )
    yield images(
        kind, "participant id with a blank", renamed("participant_id", "participant id"), EITHER
    )
    yield images(kind, "subject instead", renamed("participant_id", "subject"), REFUSED)
    yield images(kind, "zero width in a header", renamed("path", "path\u200b"), EITHER)
    yield images(kind, "escape sequence in a header", renamed("path", "\x1b]0;owned\x07"), REFUSED)
    yield images(kind, "path twice", lambda r, _: [[*row, row[2]] for row in r], EITHER)
    yield images(kind, "group twice", lambda r, _: [[*row, row[3]] for row in r], EITHER)
    yield images(kind, "columns turned about", lambda r, _: [row[::-1] for row in r])
    yield images(kind, "columns without names", lambda r, _: [[*row, "", ""] for row in r])
    yield images(kind, "header alone", lambda r, _: r[:1], REFUSED)
    yield images(kind, "empty header", lambda r, _: [["", "", "", ""], *r[1:]], REFUSED)
    yield images(kind, "no header", lambda r, _: r[1:], REFUSED)
    yield images(kind, "empty", lambda *_: "", REFUSED)
    yield images(kind, "blank", lambda *_: " \n\t\n", REFUSED)
    yield images(kind, "comment before", lambda r, _: "# written by hand\n" + joined(r), EITHER)
    yield images(kind, "space column", lambda r, _: _with_column(r, "space", SPACE))
    yield images(kind, "space T1w", lambda r, _: _with_column(r, "space", "T1w"), NO_SCORE)
    yield images(
        kind, "space unknown", lambda r, _: _with_column(r, "space", "\x1b[31mnosuch"), NO_SCORE
    )
    yield images(
        kind, "internal name scan_id", lambda r, _: _with_column(r, "scan_id", "x"), EITHER
    )
    yield images(kind, "internal name label", lambda r, _: _with_column(r, "label", "HC"))
    yield images(kind, "internal name desc", lambda r, _: _with_column(r, "desc", "x"))
    yield images(
        kind,
        "other contrast",
        lambda r, _: [r[0], *([p, "langloc", *rest] for p, _, *rest in r[1:])],
        NO_SCORE,
        settings={"contrasts": ["pressure"]},
    )
    yield images(
        kind,
        "contrast with a blank",
        lambda r, _: [r[0], *([p, "pressure ", *rest] for p, _, *rest in r[1:])],
    )


def _rows() -> Iterable[Case]:
    kind = "table, rows"
    first = {PEOPLE[0]: REFUSED}
    yield images(kind, "longer row", lambda r, _: [*r[:2], [*r[2], "more"], *r[3:]], EITHER)
    yield images(
        kind,
        "shorter row",
        lambda r, _: [*r[:2], r[2][:1], *r[3:]],
        EITHER,
        people={PEOPLE[1]: REFUSED},
    )
    yield images(kind, "a row twice", lambda r, _: [*r, r[1]], EITHER, people={PEOPLE[0]: EITHER})
    yield images(
        kind, "one person with two maps", lambda r, _: [*r, [r[1][0], *r[2][1:]]], EITHER,
        people={PEOPLE[0]: REFUSED, PEOPLE[1]: EITHER},
    )  # fmt: skip
    yield images(
        kind,
        "two people with one map",
        lambda r, _: [r[0], r[1], [r[2][0], *r[1][1:]], *r[3:]],
        EITHER | {"other score"},
    )
    yield images(kind, "rows turned about", lambda r, _: [r[0], *r[:0:-1]])
    yield images(kind, "header again", lambda r, _: [*r, r[0]], EITHER)
    for name, path in (
        ("not there", "nosuch.nii"),
        ("n/a", "n/a"),
        ("empty", ""),
        ("a folder", "."),
        ("a dash", "-"),
    ):
        yield images(
            kind,
            f"path {name}",
            lambda r, _, p=path: [r[0], [*r[1][:2], p, r[1][3]], *r[2:]],
            EITHER,
            people=first,
        )


def _renamed(change: Callable[[str], str]) -> Callable[[Rows, Path], Rows]:
    return lambda r, _: [r[0], *([change(row[0]), *row[1:]] for row in r[1:])]


def _ids() -> Iterable[Case]:
    kind = "table, ids"
    for name, change, right in (
        ("zero width behind", lambda p: p + "\u200b", EITHER),
        ("byte-order mark before", lambda p: "\ufeff" + p, EITHER),
        ("no-break space behind", lambda p: p + "\xa0", EITHER),
        ("soft hyphen behind", lambda p: p + "\xad", EITHER),
        ("escape sequence behind", lambda p: p + "\x1b[31m", EITHER),
        ("bell behind", lambda p: p + "\x07", EITHER),
        ("formula", lambda p: f"=cmd|' /C calc'!{p}", EITHER),
        ("plus", lambda p: f"+{p}", EITHER),
        ("at", lambda p: f"@{p}", EITHER),
        ("markup", lambda p: f"<script>{p}</script>", EITHER),
        ("slashes", lambda p: f"../../{p}", EITHER),
        ("emoji", lambda p: f"{p}\U0001f9e0", RIGHT),
        ("a thousand characters", lambda p: p + "x" * 1000, EITHER),
        ("blank inside", lambda p: p + " b", EITHER),
        ("comma inside", lambda p: p + ",b", EITHER),
        ("quote inside", lambda p: p + "'b", RIGHT),
    ):
        # ids that aren't those of PEOPLE as they stand can't be told apart in a study
        yield images(kind, name, _renamed(change), right, doors=("table",))
    yield images(kind, "without sub-", _renamed(lambda p: p[4:]), doors=TRAINING)
    yield images(
        kind,
        "one of them empty",
        lambda r, _: [r[0], ["", *r[1][1:]], *r[2:]],
        EITHER,
        people={PEOPLE[0]: EITHER},
    )
    for name, value in (("NA", "NA"), ("n/a", "n/a"), ("None", "None")):
        yield images(
            kind,
            f"one of them {name}",
            lambda r, _, v=value: [r[0], *r[1:], [v, *r[1][1:]]],
            EITHER,
        )


def _paths() -> Iterable[Case]:
    kind = "table, paths"

    def moved(
        name: str, path: Callable[[Path, Path], str], right: Answers = RIGHT, **more: Any
    ) -> Case:
        def change(rows: Rows, folder: Path) -> Rows:
            for number, row in enumerate(rows[1:]):
                target = folder / f"m{number}.nii.gz"
                os.link(row[2], target)
                row[2] = path(target, folder)
            return rows

        return images(kind, name, change, right, **more)

    yield moved("relative to the table", lambda t, _: t.name)
    yield moved("relative with dots", lambda t, f: f"./../{f.name}/{t.name}")
    yield moved("absolute", lambda t, _: str(t))
    yield moved("SPM's ,1", lambda t, _: f"{t.name},1")
    yield moved("SPM's ,1 with a blank", lambda t, _: f"{t.name}, 1", EITHER)
    yield moved("SPM's ,2, which isn't there", lambda t, _: f"{t.name},2", REFUSED)
    yield moved("SPM's ,0", lambda t, _: f"{t.name},0", REFUSED)
    yield moved("backslashes", lambda t, _: f".\\{t.name}", EITHER)
    yield moved("Windows drive", lambda t, _: f"C:\\study\\{t.name}", REFUSED)
    yield moved("file URL", lambda t, _: f"file://{t}", EITHER)
    yield moved("URL", lambda t, _: f"https://example.org/{t.name}", REFUSED)
    yield moved("quotes inside", lambda t, _: f"'{t.name}'", EITHER)
    yield moved("blanks around", lambda t, _: f" {t.name} ")
    yield moved("environment variable", lambda *_: "$HOME/map.nii", REFUSED)
    yield moved("newline", lambda t, _: f'"{t.name}\n"', EITHER)
    yield moved("NUL inside", lambda t, _: f"{t.name}\0", REFUSED)
    yield moved("5,000 characters", lambda t, _: "a/" * 2500 + t.name, REFUSED)
    yield moved("10,000,000 characters", lambda t, _: "a/" * 5_000_000 + t.name, REFUSED)
    yield moved("/dev/zero", lambda *_: "/dev/zero", REFUSED)
    yield moved("a wildcard", lambda *_: "*.nii.gz", REFUSED)


def _cells() -> Iterable[Case]:
    kind = "table, cells"
    for name, cell in (
        ("of 200,000 characters", "x" * 200_000),
        ("formula", "=1+1"),
        ("escape sequence", "\x1b]0;owned\x07"),
        ("not a number", "NaN"),
        ("infinite", "1e999"),
        ("emoji", "\U0001f9e0"),
        ("markup", "<b>&"),
    ):
        right = EITHER if len(cell) > 1000 else RIGHT | REFUSED
        yield images(kind, name, lambda r, _, c=cell: _with_column(r, "note", c), right)


def _things() -> Iterable[Case]:
    kind = "table, thing"

    def thing(
        name: str,
        make: Callable[[Path, Materials], Any],
        right: Answers = REFUSED,
        end: str = ".tsv",
    ) -> Case:
        def built(m: Materials, folder: Path) -> TableInput:
            table = folder / f"images{end}"
            make(table, m)
            return TableInput(table)

        return Case(kind, name, built, right, TABLE)

    yield thing("FIFO", lambda p, _: os.mkfifo(p))
    yield thing("link to /dev/zero", lambda p, _: p.symlink_to("/dev/zero"))
    yield thing("link to /dev/null", lambda p, _: p.symlink_to("/dev/null"))
    yield thing("link to itself", lambda p, _: p.symlink_to(p))
    yield thing("dangling link", lambda p, _: p.symlink_to("nosuch.tsv"))
    yield thing("nothing there", lambda *_: None)
    yield thing("a map", lambda p, m: p.write_bytes(m.maps[0].read_bytes()))
    yield thing(
        "an Excel file", lambda p, _: p.write_bytes(b"PK\3\4" + b"\0\1\2\3" * 400), end=".csv"
    )
    yield thing("a hole of 3 GiB", lambda p, _: _hole(p, 3 << 30))
    yield thing("a header and a hole of 100 GiB", _header_and_hole)
    yield thing("JSON", lambda p, _: p.write_text('[{"participant_id": "sub-01"}]'))

    def with_people(name: str, make: Callable[[Path], Any]) -> Case:
        def built(m: Materials, folder: Path) -> TableInput:
            table, participants = folder / "images.tsv", folder / "participants.tsv"
            table.write_text(joined([row[:3] for row in _image_rows(m)]), "utf-8")
            make(participants)
            return TableInput(table, participants)

        return Case(kind, f"participants: {name}", built, REFUSED, TRAINING)

    yield with_people("FIFO", os.mkfifo)
    yield with_people("folder", Path.mkdir)
    yield with_people("link to /dev/zero", lambda p: p.symlink_to("/dev/zero"))
    yield with_people("nothing there", lambda _: None)
    yield with_people("empty", Path.touch)


def _hole(path: Path, n_bytes: int) -> None:
    with path.open("ab") as file:
        file.truncate(n_bytes)


def _header_and_hole(path: Path, m: Materials) -> None:
    path.write_text(joined(_image_rows(m)), "utf-8")
    _hole(path, 100 << 30)


def _sizes() -> Iterable[Case]:
    kind = "table, size"
    more = [f"c{number}" for number in range(100_000)]
    yield images(
        kind,
        "100,000 columns",
        lambda r, _: [[*r[0], *more], *([*row, *["1"] * len(more)] for row in r[1:])],
        EITHER,
    )
    yield images(
        kind,
        "100,000 columns, all of one name",
        lambda r, _: [[*r[0], *["c"] * len(more)], *r[1:]],
        REFUSED,
    )
    yield images(
        kind, "100,000 empty columns", lambda r, _: [row + [""] * len(more) for row in r], EITHER
    )
    yield images(kind, "100,000 blank lines", lambda r, _: joined(r) + "\n" * 100_000, EITHER)
    yield images(
        kind, "a row of 1,000,000 tabs", lambda r, _: joined(r) + "\t" * 1_000_000 + "\n", EITHER
    )
    filler = [[f"sub-x{number}", GROUPS[number % 4], "40"] for number in range(200_000)]
    yield people(kind, "participants of 200,000 rows", [*_PEOPLE_ROWS, *filler], EITHER)
    yield people(
        kind,
        "participants of 100,000 columns",
        [[*_PEOPLE_ROWS[0], *more], *([*row, *["1"] * len(more)] for row in _PEOPLE_ROWS[1:])],
        EITHER,
    )


_PEOPLE_ROWS = [
    ["participant_id", "group", "age"],
    *(
        [person, group, str(30 + n)]
        for n, (person, group) in enumerate(zip(PEOPLE, GROUPS, strict=True))
    ),
]


def _altered(row: int, column: int, value: str) -> Rows:
    rows = [list(cells) for cells in _PEOPLE_ROWS]
    rows[row][column] = value
    return rows


def _participants() -> Iterable[Case]:
    kind = "participants"
    yield people(kind, "plain", _PEOPLE_ROWS)
    yield people(kind, "byte-order mark", "\ufeff" + joined(_PEOPLE_ROWS))
    yield people(kind, "UTF-16", joined(_PEOPLE_ROWS).encode("utf-16"), EITHER)
    yield people(kind, "CSV", joined(_PEOPLE_ROWS, ","), end=".csv")
    yield people(kind, "semicolons", joined(_PEOPLE_ROWS, ";"), EITHER, end=".csv")
    yield people(
        kind,
        "somebody twice, alike",
        [*_PEOPLE_ROWS, _PEOPLE_ROWS[1]],
        EITHER,
        people={PEOPLE[0]: EITHER},
    )
    yield people(
        kind, "somebody twice, in both groups", [*_PEOPLE_ROWS, [PEOPLE[0], "HC", "30"]], EITHER,
        people={PEOPLE[0]: REFUSED},
    )  # fmt: skip
    yield people(
        kind,
        "somebody without maps",
        [*_PEOPLE_ROWS, ["sub-05", "FM", "40"]],
        people={"sub-05": REFUSED},
    )
    yield people(
        kind, "somebody missing", [_PEOPLE_ROWS[0], *_PEOPLE_ROWS[2:]], people={PEOPLE[0]: REFUSED}
    )
    yield people(
        kind,
        "without sub-",
        [_PEOPLE_ROWS[0], *([row[0][4:], *row[1:]] for row in _PEOPLE_ROWS[1:])],
    )
    yield people(
        kind,
        "ids in upper case",
        [_PEOPLE_ROWS[0], *([row[0].upper(), *row[1:]] for row in _PEOPLE_ROWS[1:])],
        EITHER,
    )
    for name, mark in (
        ("zero width", "\u200b"),
        ("no-break space", "\xa0"),
        ("byte-order mark", "\ufeff"),
        ("blank", " "),
        ("soft hyphen", "\xad"),
    ):
        # invisible in every spreadsheet: found to be the same person, or said
        yield people(
            kind,
            f"{name} behind one id",
            _altered(1, 0, PEOPLE[0] + mark),
            EITHER,
            people={PEOPLE[0]: EITHER},
        )
    yield people(kind, "spelt NFC and NFD", _both_forms(), EITHER)
    yield people(
        kind,
        "ids as numbers of a spreadsheet",
        [_PEOPLE_ROWS[0], *([f"{n}.0", *row[1:]] for n, row in enumerate(_PEOPLE_ROWS[1:], 1))],
        REFUSED | EITHER,
    )


def _both_forms() -> Rows:
    """One person under two spellings, which look alike: in no study are they two people."""
    decomposed = unicodedata.normalize("NFD", "sub-é")
    return [*_PEOPLE_ROWS, ["sub-é", "FM", "30"], [decomposed, "HC", "30"]]


def _labels() -> Iterable[Case]:
    kind = "labels"

    def labelled(name: str, fm: str, hc: str, right: Answers = RIGHT, **settings: Any) -> Case:
        rows = [
            [row[0], {"FM": fm, "HC": hc}.get(row[1], row[1]), *row[2:]] for row in _PEOPLE_ROWS
        ]
        return people(kind, name, rows, right, settings or None)

    yield labelled("1 and 0", "1", "0", positive="1", negative="0")
    yield labelled("1 and 0 as integers of the config", "1", "0", positive=1, negative=0)
    yield labelled("1.0 and 0.0 for 1 and 0", "1.0", "0.0", EITHER, positive=1, negative=0)
    yield labelled("NA for no allodynia", "FM", "NA", EITHER, positive="FM", negative="NA")
    yield labelled("None", "FM", "None", EITHER, positive="FM", negative="None")
    yield labelled("nan", "FM", "nan", EITHER, positive="FM", negative="nan")
    yield labelled("lower case", "fm", "hc", EITHER)
    yield labelled("blanks behind", "FM ", "HC ")
    yield labelled("no-break spaces behind", "FM\xa0", "HC\xa0", EITHER)
    yield labelled("zero width behind", "FM\u200b", "HC", EITHER)
    yield labelled(
        "NFC beside NFD",
        "fibromyalgie·é",
        "HC",
        EITHER,
        positive=unicodedata.normalize("NFD", "fibromyalgie·é"),
        negative="HC",
    )
    yield labelled("long", "F" * 10_000, "HC", positive="F" * 10_000, negative="HC")
    yield labelled("mathtext", "$FM_{1}$", "HC", positive="$FM_{1}$", negative="HC")
    yield labelled("markup", "<b>FM</b>", "HC", positive="<b>FM</b>", negative="HC")
    yield labelled("formula", "=FM", "HC", EITHER, positive="=FM", negative="HC")
    yield labelled(
        "escape sequence", "\x1b[31mFM", "HC", EITHER, positive="\x1b[31mFM", negative="HC"
    )
    yield labelled("newline", '"F\nM"', "HC", EITHER, positive="F\nM", negative="HC")
    yield labelled("one class", "FM", "FM", REFUSED)
    yield labelled("others", "pain", "control", REFUSED)
    yield people(kind, "one n/a", _altered(1, 1, "n/a"), RIGHT, people={PEOPLE[0]: REFUSED})
    yield people(kind, "one empty", _altered(1, 1, ""), RIGHT, people={PEOPLE[0]: REFUSED})
    yield people(
        kind, "one of another group", _altered(1, 1, "CRPS"), RIGHT, {"negative": "HC"},
        people={PEOPLE[0]: REFUSED},
    )  # fmt: skip
    yield people(kind, "three groups and no choice", _altered(1, 1, "CRPS"), REFUSED)
    yield people(
        kind,
        "all n/a",
        [[row[0], "n/a" if n else "group", row[2]] for n, row in enumerate(_PEOPLE_ROWS)],
        REFUSED,
    )


def _covariates() -> Iterable[Case]:
    """List columns that a study may use later: read if unambiguous, or named."""
    kind = "covariates"
    for name, value in (
        ("comma decimal", "31,5"),
        ("unit", "31 years"),
        ("sentinel", "-9999"),
        ("n/a", "n/a"),
        ("text", "old"),
        ("infinite", "inf"),
        ("nan", "nan"),
        ("1e400", "1e400"),
        ("hexadecimal", "0x1F"),
        ("underscore", "3_1"),
        ("Arabic digits", "\u0663\u0661"),
        ("percent", "31%"),
        ("thousands", "1,031.5"),
        ("date", "1990-01-01"),
        ("full width", "\uff13\uff11"),
        ("two numbers", "31 32"),
        ("less than", "<31"),
    ):
        yield people(
            kind, f"{name} in one age", _altered(2, 2, value), EITHER, people={PEOPLE[1]: EITHER}
        )
    for column in ("site", "family", "sex", "mean_framewise_displacement"):
        yield people(
            kind,
            f"control characters in {column}",
            [[*row, "\x1b[31mA" if n else column] for n, row in enumerate(_PEOPLE_ROWS)],
            EITHER,
        )
    yield people(
        kind,
        "a site for each group",
        [[*row, f"s{row[1]}" if n else "site"] for n, row in enumerate(_PEOPLE_ROWS)],
        REFUSED,
    )
    yield people(
        kind,
        "sites that differ by a blank alone",
        [
            [*row, ["a", "a ", "a", " a"][n - 1] if n else "site"]
            for n, row in enumerate(_PEOPLE_ROWS)
        ],
    )
