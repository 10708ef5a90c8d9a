"""Readers of tables, and of the JSON files beside runs."""

import json
import random
from pathlib import Path

from benchmarks.corpus.craft import nifti
from benchmarks.fuzz.headers import AFFINE, volume
from benchmarks.fuzz.target import Reader, alter_json
from fmnet.bold.bids_files import parse_name, read_sidecars, stated_start_time, stated_t_r
from fmnet.data.bids import tree_origin
from fmnet.data.covariates import number_faults, read_together
from fmnet.data.image_table import read_image_table
from fmnet.data.participants import as_numbers, covariate_kind
from fmnet.data.tables import read_table_file, write_table

PEOPLE = (
    "participant_id\tgroup\tage\tsex\tmean_fd\tdate\n"
    "sub-01\tFM\t34,5\tF\t0.21 mm\t2021-03-04\n"
    "sub-02\tHC\tn/a\tM\t0.3 mm\t04/03/2021\n"
    "03\tNA\t-999\tF\t<5\tnone\n"
)
MAPS = (
    "participant_id,contrast,space,group,path\n"
    "sub-01,pain,MNI152,FM,map.nii\n"
    '02,pain,MNI152,HC,"sub/a,b.nii"\n'
    "sub-03,pain,MNI152,HC,/data/map.nii.gz\n"
)
MOTION = (
    "trans_x\tframewise_displacement\tnon_steady_state_outlier00\n"
    "0.1\tn/a\t1\n0.2\t0,3\t0\n-0.1\t0.2\t0\n"
)
EVENTS = "onset\tduration\ttrial_type\n0\t1.5\tpain\n10.5\t1,5\tno pain\nn/a\t0\t\n"
SIDECAR = {"RepetitionTime": 2, "StartTime": 0.9, "VolumeTiming": [0, 2], "TaskName": "a"}
ABOUT = {"Name": "a", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}
#: Cells that programs take for something else, or can't hold.
ODD_CELLS = (
    b"", b"n/a", b"NaN", b"inf", b"-inf", b"1e999", b"-999", b"1,5", b"1.5", b"1,234", b"1e5",
    b"0x10", b"sub-01", b"01", b"=1+1", b'"', b'"a', b"'", b"\t", b",", b";", b"\r", b"\n", b"\0",
    b"\x1b[31m", b"\xff", b"\xed\xa0\x80", "٣".encode(), "\ufeff".encode(), "\u200b".encode(),
    "\u202e".encode(), "\u2028".encode(), b"a" * 300, b"../map.nii", b"/dev/zero", b"map.nii,1",
    b"http://a/b.nii", b"2021-03-04", b"04/03/2021", b"0001-01-01T00:00+23:59", b"99", b"999",
    b"5 mm", b"50 %", b"FM", b"HC", b"map.nii", b"~", b"~root/a.nii", b"C:\\a.nii",
)  # fmt: skip


def table_readers() -> list[Reader]:
    """List them."""
    people, maps = PEOPLE.encode(), MAPS.encode()
    csv = PEOPLE.replace(",", ".").replace("\t", ",").encode()
    tsv = MAPS.replace(",", "\t")
    return [
        Reader(
            lambda folder: _people(folder / "people.tsv"), "people.tsv",
            [people, b"\xef\xbb\xbf" + people],
        ),
        Reader(
            lambda folder: _people(folder / "people.csv"), "people.csv",
            [csv, b"participant_id;a\n1;2\n"],
        ),
        Reader(lambda folder: _maps(folder / "maps.csv"), "maps.csv", [maps], _good_map),
        Reader(
            lambda folder: _maps(folder / "maps.tsv"), "maps.tsv",
            [tsv.encode(), tsv.encode("utf-16")], _good_map,
        ),
        Reader(_numbers, "confounds.tsv", [MOTION.encode(), EVENTS.encode()]),
        Reader(_sidecar, "task-a_bold.json", [json.dumps(SIDECAR).encode()]),
        Reader(tree_origin, "dataset_description.json", [json.dumps(ABOUT).encode()]),
    ]  # fmt: skip


def _people(path: Path) -> None:
    table = read_table_file(path, ("participant_id",), {"group": ("NA",)})
    number_faults(table)
    for column in map(str, table.columns):
        as_numbers(table[column], column)
        covariate_kind(column)
    write_table(table, path.with_name("out.tsv"))
    write_table(table, path.with_name("out.csv"), ",", for_people=True)


def _maps(path: Path) -> None:
    read_image_table(path, on_fault="exclude")


def _numbers(folder: Path) -> None:
    table = read_table_file(folder / "confounds.tsv", ())
    read_together(table, list(dict.fromkeys(map(str, table.columns))))


def _sidecar(folder: Path) -> None:
    image = parse_name(folder / "sub-1_task-a_bold.nii")
    sidecars = read_sidecars(image, [folder])
    stated_start_time(image, sidecars)
    stated_t_r(image, sidecars)


def _good_map(folder: Path) -> None:
    (folder / "map.nii").write_bytes(nifti(volume(), AFFINE))


def alter_table(content: bytes, reader: Reader, chance: random.Random) -> bytes:
    """Put an odd cell in the place of one, or take a row away, or put a row or column in twice."""
    if reader.name.endswith(".json"):
        return alter_json(content, reader, chance)
    separator = b"," if reader.name.endswith(".csv") else b"\t"
    rows = [row.split(separator) for row in content.split(b"\n")]
    row = chance.randrange(len(rows))
    column = chance.randrange(len(rows[row]))
    what = chance.randrange(5)
    if what <= 2:
        rows[row][column] = chance.choice(ODD_CELLS)
    elif what == 3:
        rows = rows[:row] + rows[row + 1 :] if chance.random() < 0.5 else [*rows, rows[row]]
    else:
        for cells in rows:
            if column < len(cells):
                cells.insert(chance.randrange(len(cells)), cells[column])
    return b"\n".join(separator.join(cells) for cells in rows)
