"""What `benchmarks.fuzz` feeds with altered bytes: readers, with inputs to start from.

The first byte of an input says which reader of a target it is for, the others are what that reads.
A reader may do one of two things: return, or raise an `FmnetError` whose message can be written.
"""

import gzip
import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from benchmarks.corpus.craft import FIELDS, nifti, pack_gzip, put, split_pair
from fmnet.bold.bids_files import parse_name, read_sidecars, stated_start_time, stated_t_r
from fmnet.bold.bold_file import BoldRun, check_run
from fmnet.data.bids import tree_origin
from fmnet.data.covariates import number_faults, read_together
from fmnet.data.grid import Grid
from fmnet.data.image_table import read_image_table
from fmnet.data.nifti import describe_grid, notes_on, read_volume, stated_stat
from fmnet.data.participants import as_numbers, covariate_kind
from fmnet.data.resample import place_on_grid
from fmnet.data.signature_map import file_stems, read_signature_map
from fmnet.data.tables import read_table_file, write_table
from fmnet.data.values import check_values, inside_mask
from fmnet.errors import FmnetError
from fmnet.inference.bold_contract import cleaning_words, read_contract
from fmnet.inference.bundle import read_metadata
from fmnet.inference.bundle_files import CHECKSUMS, SIGNATURE, check_hashes, write_hashes
from fmnet.inference.calibration import calibration_sentence, read_calibration
from fmnet.inference.links import (
    CumulativeLink,
    EffectLink,
    HazardLink,
    LinearLink,
    LogisticLink,
    SeveralLinks,
    SoftmaxLink,
    read_link,
)
from fmnet.inference.onnx_network import check_program
from fmnet.inference.preparation import MapPreparation, read_preparation
from fmnet.inference.quality import read_reference, scale_faults
from fmnet.inference.study_people import PEOPLE, read_people
from fmnet.inference.study_results import evidence_of, signature_facts_of, summary, warnings_of

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints" / "synthetic"
#: Of all maps and runs: edges of voxels of 20 mm, so that a few of them are a head.
SHAPE = (7, 8, 9)
AFFINE = np.array([[20.0, 0, 0, -60], [0, 20, 0, -90], [0, 0, 20, -70], [0, 0, 0, 1]])
GRID = Grid(np.ones((5, 6, 7), dtype=bool), AFFINE * [[1.2], [1.2], [1.2], [1]], "MNI152")
#: Numbers that programs take for something else, or can't hold.
ODD_NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 348, 352, 540, 32767, -32768, 65535, 2**31 - 1,
    -(2**31), 2**63 - 1, 0.5, 1e-45, 1e38, 1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
ODD_CELLS = (
    "", "n/a", "NaN", "inf", "-inf", "1e999", "-999", "1,5", "1.5", "1,234", "٣", "1e5", "0x10",
    "sub-01", "01", "=1+1", '"', '"a', "'", "\t", ",", ";", "\r", "\n", "\r\n", "\x00", "\x1b[31m",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "\ufeff", "\u200b", "\u202e",
    "a" * 300, "../map.nii", "/dev/zero", "map.nii,1", "http://a/b.nii", "2021-03-04",
    "04/03/2021", "99", "999", "5 mm", "50 %", "FM", "HC", "map.nii",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**30, -(10**30), 1e-320, 1e308, float("nan"), float("inf"),
    "", "a", "\ud800", "\x1b]0;a\x07", "a" * 2100, [], [[]], [None], {}, {"a": {}}, [1e308] * 3,
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """One reader and what it is given to start with.

    Parameters
    ----------
    read : callable
        ``read(folder)`` reads the file `name` in a folder of its own, and uses what it says.
    name : str
        Of the file that is altered.
    starts : sequence of bytes
        Contents that are right, or nearly so.
    prepare : callable, optional
        ``prepare(folder)`` puts beside it once what is not altered.
    """

    read: Callable[[Path], object]
    name: str
    starts: Sequence[bytes]
    prepare: Callable[[Path], object] | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """Readers that are fuzzed together.

    Parameters
    ----------
    readers : sequence of Reader
        The first byte of an input chooses one.
    alter : callable
        ``alter(content, number, chance)`` changes the content for reader `number` as its format
        allows.
    folder : Path
        For the files that are read.
    """

    readers: Sequence[Reader]
    alter: Callable[[bytes, Reader, random.Random], bytes]
    folder: Path

    @cached_property
    def folders(self) -> list[Path]:
        """One for each reader."""
        made = []
        for number, reader in enumerate(self.readers):
            folder = self.folder / f"{number}"
            (folder / reader.name).parent.mkdir(parents=True)
            if reader.prepare is not None:
                reader.prepare(folder)
            made.append(folder)
        return made

    def seeds(self) -> list[bytes]:
        """List the inputs to start from."""
        return [
            bytes([number]) + content
            for number, reader in enumerate(self.readers)
            for content in reader.starts
        ]

    def feed(self, data: bytes) -> str:
        """Bring an input to its reader; returns the error that it is refused with, or nothing.

        Whatever else is raised is a fault of the reader.
        """
        if not data:
            return ""
        number = data[0] % len(self.readers)
        folder, reader = self.folders[number], self.readers[number]
        (folder / reader.name).write_bytes(data[1:])
        try:
            reader.read(folder)
        except FmnetError as error:
            said = str(error)
            said.encode()  # what can't be written is a fault, too
            return said
        return ""

    def mutate(self, data: bytes, seed: int) -> bytes:
        """Alter an input in a way that its format allows."""
        chance = random.Random(seed)
        if not data:
            return chance.choice(self.seeds())
        reader = self.readers[data[0] % len(self.readers)]
        content = data[1:] or reader.starts[0]
        return data[:1] + self.alter(content, reader, chance)


def _volume(n: int = 0) -> Any:
    shape = (*SHAPE, n) if n else SHAPE
    return np.random.default_rng(n).normal(100 if n else 0, 1, shape).astype(np.float32)


# --- headers ------------------------------------------------------------------------------------


def header_readers() -> list[Reader]:
    """List the readers of images: single files, packed ones, pairs, masks and runs."""
    data = _volume()
    plain = [
        nifti(data, AFFINE),
        nifti(data, AFFINE, version=2),
        nifti(data, AFFINE, order=">"),
        nifti(data, AFFINE, code="i2", slope=2e-4, inter=1.5),
        nifti(data, AFFINE, code="u1", slope=0.06, inter=-7.5, sform_code=0),
        nifti(data, AFFINE, extension=b"\x20\0\0\0\6\0\0\0" + b"comment " * 3),
    ]
    mask = nifti((data > 0).astype(np.float32), AFFINE, code="u1")
    analyze = nifti(data, AFFINE, pair=True, magic=b"\0\0\0\0")[:348]
    runs = [nifti(_volume(4), AFFINE, t_r=2.0, xyzt_units=10), nifti(_volume(3), AFFINE, "i2")]

    def image(folder: Path, path: str = "map.nii") -> None:
        volume = read_volume(folder / path, "MNI152")
        for say in (describe_grid, stated_stat, notes_on):
            say(folder / path)
        check_values(volume)
        place_on_grid(volume, GRID)

    def masked(folder: Path) -> None:
        inside_mask(read_volume(folder / "mask.nii", "MNI152"))

    def run(folder: Path) -> None:
        with check_run(BoldRun("r", "sub-1", folder / "bold.nii", "MNI152"), False) as checked:
            for number, volume in enumerate(checked.file.volumes()):
                if number == 0:
                    checked.support(volume)
            checked.finish()

    def voxels(folder: Path) -> None:
        split_pair(nifti(data, AFFINE, pair=True), folder / "map")

    return [
        Reader(image, "map.nii", plain),
        Reader(lambda f: image(f, "map.nii.gz"), "map.nii.gz", [pack_gzip(plain[0])]),
        Reader(
            lambda f: image(f, "map.img"), "map.hdr",
            [analyze, nifti(data, AFFINE, pair=True)[:348]], voxels,
        ),
        Reader(lambda f: image(f, "map.hdr"), "map.mat", [b"", _mat()], voxels),
        Reader(masked, "mask.nii", [mask]),
        Reader(run, "bold.nii", runs),
    ]  # fmt: skip


def _mat() -> bytes:
    """Write an affine as MATLAB 5 does."""
    import io

    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, {"M": AFFINE, "mat": AFFINE})
    return file.getvalue()


def alter_header(content: bytes, reader: Reader, chance: random.Random) -> bytes:
    """Set one field of a header to an odd number; of what is packed, unpacked before."""
    is_packed = reader.name.endswith(".gz")
    if is_packed:
        with suppress(OSError, EOFError):
            content = gzip.decompress(content)
    altered = bytearray(content.ljust(348, b"\0"))
    version = 2 if bytes(altered[:2]) in {b"\x1c\2", b"\0\0"} and len(altered) >= 540 else 1
    name, (_, form) = chance.choice(list(FIELDS[version].items()))
    order = ">" if altered[0] == 0 else "<"
    count = int(form[:-1] or 1)
    if form.endswith("s"):
        value: Any = bytes(chance.randrange(256) for _ in range(count))
    else:
        numbers = [chance.choice(ODD_NUMBERS) for _ in range(count)]
        keep = chance.random() < 0.5 and count > 1  # alter one of several
        if keep:
            numbers = _held(bytes(altered), version, name, order)
            numbers[chance.randrange(count)] = chance.choice(ODD_NUMBERS)
        value = numbers if count > 1 else numbers[0]
    with suppress(Exception):  # what a field can't hold
        put(altered, name, value, version, order)
    return pack_gzip(bytes(altered)) if is_packed else bytes(altered)


def _held(header: bytes, version: int, name: str, order: str) -> list[Any]:
    import struct

    place, form = FIELDS[version][name]
    return list(struct.unpack_from(order + form, header, place))


# --- tables -------------------------------------------------------------------------------------


def table_readers() -> list[Reader]:
    """List the readers of tables and of the JSON files beside runs."""
    people = "participant_id\tgroup\tage\tsex\tmean_fd\tdate\nsub-01\tFM\t34,5\tF\t0.21 mm\t"
    people += "2021-03-04\nsub-02\tHC\tn/a\tM\t0.3 mm\t04/03/2021\n03\tNA\t-999\tF\t<5\tnone\n"
    maps = "participant_id,contrast,space,group,path\nsub-01,pain,MNI152,FM,map.nii\n"
    maps += '02,pain,MNI152,HC,"sub/a,b.nii"\nsub-03,pain,MNI152,HC,/data/map.nii.gz\n'
    motion = "\t".join(["trans_x", "framewise_displacement", "non_steady_state_outlier00"])
    motion += "\n0.1\tn/a\t1\n0.2\t0,3\t0\n-0.1\t0.2\t0\n"
    events = "onset\tduration\ttrial_type\n0\t1.5\tpain\n10.5\t1,5\tno pain\nn/a\t0\t\n"
    sidecar = {"RepetitionTime": 2, "StartTime": 0.9, "VolumeTiming": [0, 2], "TaskName": "a"}
    about = {"Name": "a", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}

    def participants(folder: Path, name: str = "people.tsv") -> None:
        table = read_table_file(folder / name, ("participant_id",), {"group": ("NA",)})
        number_faults(table)
        for column in map(str, table.columns):
            as_numbers(table[column], column)
            covariate_kind(column)
        write_table(table, folder / "out.tsv")
        write_table(table, folder / "out.csv", ",", for_people=True)

    def images(folder: Path, name: str = "maps.csv") -> None:
        for on_fault in ("raise", "exclude"):
            read_image_table(folder / name, on_fault=on_fault)  # type: ignore[arg-type]

    def numbers(folder: Path) -> None:
        table = read_table_file(folder / "confounds.tsv", ())
        read_together(table, list(dict.fromkeys(map(str, table.columns))))

    def beside(folder: Path) -> None:
        image = parse_name(folder / "sub-1_task-a_bold.nii")
        sidecars = read_sidecars(image, [folder])
        stated_start_time(image, sidecars)
        stated_t_r(image, sidecars)

    def good_map(folder: Path) -> None:
        (folder / "map.nii").write_bytes(nifti(_volume(), AFFINE))

    return [
        Reader(participants, "people.tsv", [people.encode(), ("\ufeff" + people).encode()]),
        Reader(
            lambda f: participants(f, "people.csv"), "people.csv",
            [people.replace(",", ".").replace("\t", ",").encode(), b"participant_id;a\n1;2\n"],
        ),
        Reader(images, "maps.csv", [maps.encode()], good_map),
        Reader(
            lambda f: images(f, "maps.tsv"), "maps.tsv",
            [maps.replace(",", "\t").encode(), maps.replace(",", "\t").encode("utf-16")], good_map,
        ),
        Reader(numbers, "confounds.tsv", [motion.encode(), events.encode()]),
        Reader(beside, "task-a_bold.json", [json.dumps(sidecar).encode()]),
        Reader(tree_origin, "dataset_description.json", [json.dumps(about).encode()]),
    ]  # fmt: skip


def alter_table(content: bytes, reader: Reader, chance: random.Random) -> bytes:
    """Put an odd cell in the place of one, or take a row or a column away or twice."""
    if reader.name.endswith(".json"):
        return alter_json(content, reader, chance)
    separator = b"," if reader.name.endswith(".csv") else b"\t"
    rows = [row.split(separator) for row in content.split(b"\n")]
    row = chance.randrange(len(rows))
    column = chance.randrange(len(rows[row]))
    what = chance.randrange(5)
    if what <= 2:
        rows[row][column] = chance.choice(ODD_CELLS).encode("utf-8", "surrogateescape")
    elif what == 3:
        rows = rows[:row] + rows[row + 1 :] if chance.random() < 0.5 else [*rows, rows[row]]
    else:
        for cells in rows:
            if column < len(cells):
                cells.insert(chance.randrange(len(cells)), cells[column])
    return b"\n".join(separator.join(cells) for cells in rows)


# --- bundles ------------------------------------------------------------------------------------


def bundle_readers() -> list[Reader]:
    """List the readers of a bundle's files, one by one: nothing here compares hashes before."""
    shipped = {path.name: path.read_bytes() for path in SHIPPED.iterdir() if path.is_file()}
    metadata = json.loads(shipped["metadata.json"])
    contract = {
        "cleaning": {"strategy": "motion24", "low_hz": 0.01, "high_hz": None, "min_volumes": 9},
        "maps": ["alff", "seed:pcc=0,-52,18"], "t_r": 2.0,
    }  # fmt: skip

    def said(folder: Path) -> None:
        fields = read_metadata(folder)
        signature_facts_of(fields)
        summary(evidence_of(fields))
        warnings_of(fields["training"])

    def calibrated(folder: Path) -> None:
        calibration = read_calibration(folder / "calibration.json")
        calibration_sentence(calibration)
        assert ((p := calibration.probability([-1e6, 0, 1e6])) >= 0).all() and (p <= 1).all()

    def limits(folder: Path) -> None:
        reference = read_reference(folder / "reference.json")
        scale_faults(np.ones((len(reference.contrasts), 9), np.float32), reference, "a")

    def prepared(folder: Path) -> None:
        preparation = read_preparation(folder)
        if preparation.grid.mask.size < 2000 and isinstance(preparation, MapPreparation):
            values = np.ones((len(preparation.contrasts), preparation.grid.n_voxels), np.float32)
            assert np.isfinite(preparation.prepare(values[None])).all()

    def contracted(folder: Path) -> None:
        contract = read_contract(folder)
        assert contract is not None
        cleaning_words(contract.cleaning)

    def linked(folder: Path) -> None:
        link = read_link(folder / "link.json")
        for scores in (np.zeros((1, link.n_scores)), np.full((2, link.n_scores), 1e6)):
            with np.errstate(all="ignore"):
                link.outputs(scores)

    def people(folder: Path) -> None:
        found = read_people(folder)
        assert len(found.low) == len(found.high) == len(found.labels)

    def program(folder: Path) -> None:
        with suppress(ValueError):
            check_program((folder / "model.onnx").read_bytes())

    def weights(folder: Path) -> None:
        read_signature_map(folder, "weights", GRID, ("pain",)).sidecar("pain")

    small = MapPreparation(
        GRID, ("pain",), 0.5, 8.0, *(np.ones((1, GRID.n_voxels), np.float32),) * 2
    )

    def beside(folder: Path) -> None:
        small.write(folder)

    def hashed(folder: Path) -> None:
        for name in ("a.json", "b.json"):
            (folder / name).write_text(name)
        write_hashes(folder)

    def mapped(folder: Path) -> None:
        stem = file_stems(("pain",), "MNI152", "weights")[0]
        values = np.ones(GRID.shape, np.float32)
        (folder / f"{stem}.nii.gz").write_bytes(pack_gzip(nifti(values, GRID.affine)))

    settings = small_json(small)
    arrays = save({"mask": np.ones(GRID.shape, np.uint8), "mean": small.mean,
                   "weight": small.weight})  # fmt: skip
    about = {"Units": "a", "Sign": "b", "Model": "c", "Source": "final", "NumberOfSubjects": 9}
    listed = b"".join(b"%064d  %s\n" % (0, name) for name in (b"a.json", b"signature/b"))
    tensor = b'\x08\x08:\x18\n\x0b\n\x01a\x12\x01b"\x03Neg\x12\x01g*\x06\x08\x02\x10\x01\x42\x01w'
    return [
        Reader(said, "metadata.json", [shipped["metadata.json"], _targeted(metadata)]),
        Reader(calibrated, "calibration.json", [shipped["calibration.json"]]),
        Reader(limits, "reference.json", [shipped["reference.json"]]),
        Reader(prepared, "preparation.json", [settings], beside),
        Reader(prepared, "preparation.safetensors", [arrays], beside),
        Reader(contracted, "bold.json", [json.dumps(contract).encode()]),
        Reader(linked, "link.json", [json.dumps(link.to_json()).encode() for link in _links()]),
        Reader(people, f"{SIGNATURE}/{PEOPLE}", [_people()]),
        Reader(check_hashes, CHECKSUMS, [listed], hashed),
        Reader(program, "model.onnx", [tensor]),
        Reader(
            weights, f"{file_stems(('pain',), 'MNI152', 'weights')[0]}.json",
            [json.dumps(about).encode()], mapped,
        ),
    ]  # fmt: skip


def small_json(preparation: MapPreparation) -> bytes:
    """Write what stands in ``preparation.json``."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        preparation.write(Path(folder))
        return (Path(folder) / "preparation.json").read_bytes()


def _links() -> list[Any]:
    return [
        LinearLink(10.0, 50.0, -20.0, 22.0, "value", 0.0, 100.0),
        LogisticLink(1.0, 0.0, "FM"),
        CumulativeLink(0.8, (-1.0, 0.5), ("none", "some", "much")),
        HazardLink(0.7, 0.1, (2.0, 5.0), (0.2, 0.6), "years"),
        EffectLink(2.0, 1.0, (0.5, 0.1, 0.2)),
        SeveralLinks(
            ("pain", "kind"),
            ((0,), (1, 2)),
            (LinearLink(1.0, 0.0, -1.0, 1.0), SoftmaxLink(1.0, (0.0, 0.0), ("OA", "HC"))),
        ),
    ]


def _people() -> bytes:
    ranges = {name: [0.1 * number, 1.0] for number, name in enumerate(("low", "middle", "high"))}
    regions = {"label": [1, 2], "name": ["a", "b"], "positive": ranges, "negative": ranges}
    scores = {"positive": [0.1, 0.4], "negative": [-0.2, 0.3]}
    return json.dumps({"source": "final", "regions": regions, "scores": scores}).encode()


def _targeted(metadata: Mapping[str, Any]) -> bytes:
    """Write the metadata of a bundle that predicts a number."""
    output = {"name": "value", "unit": "points", "means": "a.", "means_not": "b."}
    primary = {"name": "r2", "title": "R2", "chance": 0.0}
    target = {"kind": "severity", "title": "how severe", "columns": {"value": "fiqr"},
              "scores": ["score"], "outputs": [output], "primary": primary}  # fmt: skip
    evidence = {"figure": "R2", "value": 0.3, "value_ci": [0.1, 0.5], "chance": 0.0, "p": 0.01}
    training = {**metadata["training"], "target": target}
    return json.dumps(
        {**metadata, "format_version": 2, "training": training, "evidence": evidence}
    ).encode()


def alter_json(content: bytes, reader: Reader, chance: random.Random) -> bytes:
    """Put an odd value in the place of one, take a field away or give it another name."""
    if not reader.name.endswith(".json"):
        return _alter_bytes(content, chance)
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return chance.choice(reader.starts)
    places = _places(whole)
    if not places:
        return json.dumps(chance.choice(ODD_VALUES)).encode()
    holder, key = chance.choice(places)
    what = chance.randrange(6)
    if what <= 3:
        holder[key] = deepcopy(chance.choice(ODD_VALUES))
    elif what == 4:
        del holder[key]
    elif isinstance(holder, list):
        holder += [holder[key]] * chance.choice((1, 3, 300))
    else:
        holder[f"{key}{chance.choice(('', ' ', '_2'))}"] = chance.choice(places)[0]
    try:
        return json.dumps(whole).encode()
    except (ValueError, RecursionError):  # an object inside itself
        return content


def _places(value: Any) -> list[tuple[Any, Any]]:
    """List every place in plain values: who holds it, and under which name or number."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < 5000:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            names = list(holder) if isinstance(holder, dict) else range(len(holder))
            found += [(holder, name) for name in names]
            waiting += [holder[name] for name in names]
    return found


def _alter_bytes(content: bytes, chance: random.Random) -> bytes:
    """Set a byte, or take some away or twice."""
    place, n = chance.randrange(len(content) or 1), chance.choice((1, 2, 4, 8, 32))
    piece = chance.choice((b"\0", b"\xff", b"\x7f", b"\n", b"  ", content[place : place + n]))
    return content[:place] + piece + content[place + (n if chance.random() < 0.5 else 0) :]


#: By name: readers, and how what they read is altered.
TARGETS: dict[str, tuple[Callable[[], list[Reader]], Any]] = {
    "headers": (header_readers, alter_header),
    "tables": (table_readers, alter_table),
    "bundles": (bundle_readers, alter_json),
}


def build_target(name: str, folder: Path) -> Target:
    """Make a target whose files lie in a folder, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    readers, alter = TARGETS[name]
    return Target(readers(), alter, folder)
