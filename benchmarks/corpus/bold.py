"""BOLD runs, with mask, sidecar and confounds as fMRIPrep writes them, and altered ones."""
# mypy doesn't infer lambdas that hold on to a loop's value by a default.
# mypy: disable-error-code="misc"

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.corpus.answers import (
    ANY,
    CANNOT_SAY,
    EITHER,
    ERROR,
    FORCED,
    FOUR_PARTS,
    NO_SCORE,
    OTHER,
    REFUSED,
    RIGHT,
    SCORE,
    Answer,
    Answers,
    run_predict,
)
from benchmarks.corpus.case import Case, Materials
from benchmarks.corpus.craft import METER, MICRON, MM, Array, bomb, nifti, pack_gzip, turn
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import FmnetError
from fmnet.inference.bold import Stated, describe_run
from fmnet.inference.bold_contract import BoldContract, write_contract
from fmnet.inference.bundle import FORMAT_VERSION, INTENDED_USE, write_plain
from fmnet.inference.bundle_files import write_hashes
from fmnet.inference.calibration import Calibration
from fmnet.inference.gates import fit_gates
from fmnet.inference.preparation import SeriesPreparation
from fmnet.inference.quality import fit_reference, temporal_sd
from fmnet.inference.run_gates import RunGates

SPACE, T_R, N_VOLUMES, VOXEL_MM = "MNI152NLin2009cAsym", 2.0, 70, 12
SEC, MSEC, USEC = 8, 16, 24
#: People whose runs the gates are made of.
N_GATED = 20
CLEANING = CleaningSettings("motion6", 0.01, 0.1, None, 20)
COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "framewise_displacement")


@dataclass
class Run:
    """A run that is yet to be written; cases alter it.

    Parameters
    ----------
    data : ndarray of float32, shape (X, Y, Z, T)
        The image.
    affine : ndarray, shape (4, 4)
        In mm.
    mask : ndarray, shape (X, Y, Z)
        What the mask's file holds.
    confounds : DataFrame
        Written with tabs.
    header, mask_header : dict
        Arguments of `nifti`, besides.
    sidecar : object
        Written as JSON, unless it is text.
    name : str
        Of the image, up to ``_desc-preproc_bold.nii.gz``.
    image : callable
        From the bytes of the image, not compressed, to those of the file.
    confounds_text : callable
        From the text of the confounds to the bytes of the file.
    after : callable
        What is done to the folder at last: ``after(folder, image)``.
    options : tuple of str
        Further arguments of ``fmnet-predict``.
    """

    data: Array
    affine: Array
    mask: Array
    confounds: pd.DataFrame
    header: dict[str, Any] = field(default_factory=dict)
    mask_header: dict[str, Any] = field(default_factory=dict)
    sidecar: Any = field(default_factory=lambda: {"RepetitionTime": T_R})
    name: str = f"sub-01_task-rest_space-{SPACE}"
    image: Callable[[bytes], bytes] = pack_gzip
    confounds_text: Callable[[str], bytes] = str.encode
    after: Callable[[Path, Path], Any] = lambda *_: None
    options: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write all files; returns the image."""
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / f"{self.name}_desc-preproc_bold.nii.gz"
        plain: dict[str, Any] = {"affine": self.affine, "t_r": T_R, "xyzt_units": MM | SEC}
        image.write_bytes(self.image(nifti(self.data, **(plain | self.header))))
        plain = {"affine": self.affine, "code": "u1"}
        mask = folder / f"{self.name}_desc-brain_mask.nii.gz"
        mask.write_bytes(pack_gzip(nifti(self.mask, **(plain | self.mask_header))))
        side = self.sidecar if isinstance(self.sidecar, str) else json.dumps(self.sidecar)
        (folder / f"{self.name}_desc-preproc_bold.json").write_text(side, "utf-8")
        table = folder / f"{self.name.split('_space-')[0]}_desc-confounds_timeseries.tsv"
        text = self.confounds.to_csv(sep="\t", index=False, na_rep="n/a")
        table.write_bytes(self.confounds_text(text))
        self.after(folder, image)
        return image


@dataclass(frozen=True, eq=False)
class BoldMaterials:
    """A bundle that reads runs, two good runs, and what comes of them."""

    bundle: Path
    grid: Grid
    images: tuple[Path, Path]
    cleaned: NDArray[np.float32]
    scores: tuple[float, float]


@dataclass(frozen=True)
class BoldInput:
    """What the doors of runs are given.

    Parameters
    ----------
    bundle : Path
        That reads runs.
    sources : list of Path
        The run, or the folder, in question, and a good run beside it unless options forbid that.
    options : tuple of str
        Further arguments of ``fmnet-predict``.
    score, good_score : float
        The right ones.
    """

    bundle: Path
    sources: list[Any]
    options: tuple[str, ...]
    score: float
    good_score: float


def plain_run(grid: Grid, seed: int) -> Run:
    """Draw a run: slow noise about 1,000 in the brain, six motion parameters."""
    rng = np.random.default_rng(seed)
    slow = rng.normal(size=(N_VOLUMES, grid.n_voxels)).cumsum(axis=0)
    slow = (slow - slow.mean(axis=0)) / slow.std(axis=0)
    values = 1000 + 5 * slow + 3 * rng.normal(size=slow.shape)
    data = np.moveaxis(grid.unmask(values.astype(np.float32)), 0, -1)
    motion = rng.normal(size=(N_VOLUMES, 7)) / 100
    motion[:, 6] = 0.1
    motion[0, 6] = np.nan
    table = pd.DataFrame(motion, columns=list(COLUMNS))
    return Run(data, grid.affine, grid.mask.astype(np.uint8), table)


@cache
def bold_materials(folder: Path) -> BoldMaterials:
    """Write the bundle and two good runs, once for each process."""
    grid = build_grid(VOXEL_MM)
    grid = Grid(grid.mask, grid.affine, SPACE)
    place = folder / f"bold-{os.getpid()}"
    images = tuple(plain_run(grid, seed).write(place / f"good-{seed}") for seed in (1, 2))
    store = ArrayStore(place / "store", CleanedBold(grid, CLEANING))
    cleaned = [store.add(describe_run(image, SPACE)) for image in images]
    bundle = place / "bundle"
    write_bold_bundle(bundle, grid, [np.asarray(one.values()) for one in cleaned])
    scores = [_score(run_predict(bundle, [image], place)) for image in images]
    values = np.array(cleaned[0].values())
    return BoldMaterials(bundle, grid, (images[0], images[1]), values, (scores[0], scores[1]))


def _score(done: Any) -> float:
    if done.refusal is not None or done.rows[0]["status"] != "ok":
        raise RuntimeError(f"the good run has no score: {done}")
    return float(done.rows[0]["score"])


def write_bold_bundle(folder: Path, grid: Grid, series: list[NDArray[np.float32]]) -> None:
    """Write a bundle whose network weighs the variance in time of each voxel."""
    folder.mkdir(parents=True)
    preparation = SeriesPreparation(grid, ("bold",), 0.5, 0)
    preparation.write(folder)
    write_contract(BoldContract(CLEANING, (), T_R), folder)
    write_plain(Calibration(1.0, 0.0), folder / "calibration.json")
    sd = np.stack([temporal_sd(values) for values in series])
    write_plain(fit_reference(sd, ("bold",), [0.1] * len(series)), folder / "reference.json")
    weight = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    variance = float(np.nanmean(sd**2))
    constants = [
        helper.make_tensor("weight", TensorProto.FLOAT, grid.shape, weight / variance / 10),
        helper.make_tensor("space", TensorProto.INT64, [3], [1, 2, 3]),
    ]
    nodes = [
        helper.make_node("Mul", ["series", "series"], ["squared"]),
        helper.make_node("ReduceMean", ["squared"], ["variance"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["variance", "weight"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "space"], ["score"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("series", TensorProto.FLOAT, ["N", "T", *grid.shape])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])]
    graph = helper.make_graph(nodes, "variance", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "model.onnx")
    metadata = {
        "format_version": FORMAT_VERSION,
        "intended_use": INTENDED_USE,
        "versions": {"fmnet": "corpus"},
        "input": {"kind": "series", "task": "rest", "contrasts": ["bold"], "stat": "percent",
                  "space": SPACE, "bold": {"t_r": T_R}},
        "training": {"positive": "FM", "negative": "HC", "origin": "synthetic",
                     "n_scans": len(series), "model": "variance",
                     "crossvalidation": {"variance": {"auc": 0.8, "auc_ci": [0.7, 0.9]}}},
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata), "utf-8")
    write_hashes(folder)


def ask_bold(materials: Materials, case: Case, given: BoldInput, folder: Path) -> Answer:
    """Read a run as a study does."""
    bold = bold_materials(materials.folder)
    stated = dict(zip(given.options[::2], given.options[1::2], strict=True))
    t_r = float(stated["--t-r"]) if "--t-r" in stated else None
    try:
        store = ArrayStore(folder / "store", CleanedBold(bold.grid, CLEANING))
        run = describe_run(Path(given.sources[0]), SPACE, Stated(t_r=t_r))
        found = np.asarray(store.add(run).values())
    except FmnetError as error:
        is_clear = all(FOUR_PARTS.search(str(fault)) for fault in error.faults)
        return Answer(ERROR if is_clear else "unclear message", str(error))
    if found.shape != bold.cleaned.shape:
        return Answer(OTHER, f"{len(found)} volumes for {len(bold.cleaned)}")
    known, wanted = np.isfinite(found), np.isfinite(bold.cleaned)
    if (share := float((known != wanted).mean())) > 0.05:
        return Answer(OTHER, f"known in other voxels, {share:.1%}")
    both = known & wanted
    error = float(np.sqrt(np.mean((found[both] - bold.cleaned[both]) ** 2)))
    limit = 10 * case.tolerance * float(bold.cleaned[wanted].std())
    return Answer(SCORE) if error <= limit else Answer(OTHER, f"values {error:.3g} (RMS) off")


@cache
def gated_runs(folder: Path) -> Path:
    """Write the bundle with gates, of people whose runs vary in time as the good ones do."""
    bold = bold_materials(folder)
    target = bold.bundle.with_name("gated")
    shutil.copytree(bold.bundle, target)
    rng, sd = np.random.default_rng(3), temporal_sd(bold.cleaned)
    people = [rng.permuted(sd, axis=1) * np.float32(rng.normal(1, 0.03)) for _ in range(N_GATED)]
    names = [f"sub-{number}" for number in range(N_GATED)]
    gates = fit_gates(np.stack(people), bold.grid, ("bold",), names)
    replace(gates, runs=RunGates(N_GATED, N_VOLUMES, 0.05, 0.05)).write(target)
    write_hashes(target)
    return target


def _gates() -> Iterable[Case]:
    """List runs that are well written, and unlike those of training."""
    stopped = frozenset({CANNOT_SAY, ERROR})
    for name, change, right in (
        ("plain", lambda _: None, RIGHT),
        ("percent of another baseline", lambda r: _times(r, 7), RIGHT),
        ("a third of its volumes", lambda r: _first(r, 24), stopped),
        ("half of its volumes", lambda r: _first(r, 36), stopped),
        ("nine tenths of its volumes", lambda r: _first(r, 63), ANY),
        ("twice", _twice, ANY),
        ("motion of 2 mm", lambda r: _displaced(r, 2.0), stopped),
        ("motion of 0.14 mm", lambda r: _displaced(r, 0.14), ANY),
        ("motion of 0", lambda r: _displaced(r, 0.0), ANY),
        ("motion that nobody states", lambda r: _displaced(r, np.nan), stopped),
        ("one volume with 50 mm", lambda r: _displaced(r, 50.0, one=True), stopped),
        (
            "repetition time 1 s",
            _set(sidecar={"RepetitionTime": 1.0}, header={"t_r": 1.0}),
            stopped,
        ),
        (
            "repetition time 3 s",
            _set(sidecar={"RepetitionTime": 3.0}, header={"t_r": 3.0}),
            stopped,
        ),
        ("repetition time 2.001 s", _set(sidecar={"RepetitionTime": 2.001}), ANY),
        ("ten times the variance", lambda r: _spread(r, 10**0.5), ANY),
        ("a hundred times the variance", lambda r: _spread(r, 10), stopped),
        ("hardly any variance", lambda r: _spread(r, 0.01), stopped),
        ("in reverse", lambda r: _times(r, 1, slice(None, None, -1)), ANY),
        ("mirrored", lambda r: _mirrored(r), ANY),
        ("left half alone", lambda r: _half(r, slice(6, None)), stopped),
        ("white noise", lambda r: _noise(r), ANY),
    ):
        for options in ((), ("--force",)):
            yield _gated_run(name, change, right, options)


def _gated_run(
    name: str, change: Callable[[Run], Any], right: Answers, options: tuple[str, ...]
) -> Case:
    plain = run_case("BOLD, gates", name, change)

    def make(m: Materials, folder: Path) -> BoldInput:
        made: BoldInput = plain.make(m, folder)
        return replace(made, bundle=gated_runs(m.folder))

    kind = "BOLD, gates forced" if options else "BOLD, gates"
    right = right | {FORCED, OTHER} if options else right
    return replace(plain, kind=kind, make=make, right=right, doors=("run",), options=options)


def _times(run: Run, factor: float, order: slice = slice(None)) -> None:
    run.data = run.data[..., order] * np.float32(factor)


def _first(run: Run, n: int) -> None:
    run.data, run.confounds = run.data[..., :n], run.confounds[:n]


def _twice(run: Run) -> None:
    run.data = np.concatenate([run.data, run.data], axis=-1)
    run.confounds = pd.concat([run.confounds, run.confounds.fillna(0.1)])


def _displaced(run: Run, mm: float, one: bool = False) -> None:
    run.confounds = run.confounds.copy()
    rows = slice(5, 5) if one else slice(1, None)
    run.confounds.loc[rows, "framewise_displacement"] = mm


def _spread(run: Run, factor: float) -> None:
    mean = run.data.mean(axis=-1, keepdims=True)
    run.data = (mean + factor * (run.data - mean)).astype(np.float32)


def _mirrored(run: Run) -> None:
    run.data, run.mask = run.data[::-1], run.mask[::-1]


def _half(run: Run, gone: slice) -> None:
    run.data = run.data.copy()
    run.data[gone] = 0


def _noise(run: Run) -> None:
    noise = np.random.default_rng(9).normal(1000, 6, run.data.shape)
    run.data = np.where(run.data != 0, noise, 0).astype(np.float32)


def bold_cases() -> list[Case]:
    """List every case that is about a BOLD run."""
    parts = (_headers, _repetition, _masks, _confounds, _values, _files, _folders, _gates)
    return [case for part in parts for case in part()]


DOORS = ("run", "run training")


def run_case(
    kind: str,
    name: str,
    change: Callable[[Run], Any] = lambda _: None,
    right: Answers = RIGHT,
    doors: tuple[str, ...] = DOORS,
    folder_given: bool = False,
    alone: bool = False,
    **more: Any,
) -> Case:
    """Build a case of a run that is plain but for ``change(run)``."""

    def make(m: Materials, folder: Path) -> BoldInput:
        bold = bold_materials(m.folder)
        run = plain_run(bold.grid, 1)
        changed = change(run)
        run = changed if isinstance(changed, Run) else run
        place = folder / "maps" / "sub-01" / "func"
        image = run.write(place)
        source = folder / "maps" if folder_given else image
        good = [] if alone or folder_given else [bold.images[1]]
        return BoldInput(bold.bundle, [source, *good], run.options, *bold.scores)

    return Case(kind, name, make, right, doors, **({"tolerance": 0.02} | more))


def _set(**changes: Any) -> Callable[[Run], None]:
    """Set attributes of a run; mappings are joined with what is there."""

    def change(run: Run) -> None:
        for name, value in changes.items():
            known = getattr(run, name)
            is_joined = isinstance(value, Mapping) and name in {"header", "mask_header"}
            setattr(run, name, {**known, **value} if is_joined else value)

    return change


def _headers() -> Iterable[Case]:
    kind = "BOLD, header"
    yield run_case(kind, "plain")
    for version, order in ((1, ">"), (2, "<"), (2, ">")):
        yield run_case(
            kind, f"NIfTI-{version}, {order}", _set(header={"version": version, "order": order})
        )
    for unit, code, factor in (
        ("micron", MICRON, 1e3),
        ("meter", METER, 1e-3),
        ("unknown", 0, 1.0),
    ):
        scale = np.diag([factor, factor, factor, 1.0])
        yield run_case(
            kind,
            f"image in {unit}",
            lambda r, s=scale, c=code: _set(header={"affine": s @ r.affine, "xyzt_units": c | SEC})(
                r
            ),
        )
        yield run_case(
            kind,
            f"mask in {unit}",
            lambda r, s=scale, c=code: _set(mask_header={"affine": s @ r.affine, "xyzt_units": c})(
                r
            ),
        )
        if factor != 1:
            yield run_case(
                kind, f"mm said to be {unit}", _set(header={"xyzt_units": code | SEC}), REFUSED
            )
    for axes in ("LAS", "LPI", "PSR"):
        yield run_case(kind, f"stored {axes}", lambda r, a=axes: _turned(r, a))
        yield run_case(
            kind, f"stored {axes}, not its mask", lambda r, a=axes: _turned(r, a, False), EITHER
        )
    for name, fields, right in (
        ("no codes", {"sform_code": 0, "qform_code": 0}, REFUSED),
        ("qform alone", {"sform_code": 0}, RIGHT),
        ("sform alone", {"qform_code": 0}, RIGHT),
        ("qfac 0, qform alone", {"sform_code": 0, "pixdim": [0, 12, 12, 12, 2, 1, 1, 1]}, RIGHT),
        ("quaternion just over 1, unused", {"quatern": [0.6, 0.8, 0.001], "qform_code": 1}, RIGHT),
        ("sform NaN", {"srow": [np.nan] * 12}, EITHER),
        ("vox_offset NaN", {"vox_offset": np.nan}, REFUSED),
        ("vox_offset 0", {"vox_offset": 0}, EITHER),
        ("vox_offset -1", {"vox_offset": -1}, REFUSED),
        ("vox_offset 1e9", {"vox_offset": 1e9}, REFUSED),
        ("vox_offset infinite", {"vox_offset": np.inf}, REFUSED),
        ("slope infinite", {"slope": np.inf}, EITHER),
        ("datatype 0", {"datatype": 0}, REFUSED),
        ("datatype RGB", {"datatype": 128}, REFUSED),
        ("magic of garbage", {"magic": b"nope"}, REFUSED),
        ("p values by intent", {"intent_code": 22}, EITHER),
        ("intent time series", {"intent_code": 2001}, RIGHT),
    ):
        yield run_case(kind, name, _set(header=fields), right)
    for name, dim in (
        ("10**9 volumes", [4, -1, -1, -1, 32767, 1, 1, 1]),
        ("0 volumes", [4, -1, -1, -1, 0, 1, 1, 1]),
        ("-1 volumes", [4, -1, -1, -1, -1, 1, 1, 1]),
        ("3-D", [3, -1, -1, -1, 1, 1, 1, 1]),
        ("1 volume", [4, -1, -1, -1, 1, 1, 1, 1]),
        ("2 volumes", [4, -1, -1, -1, 2, 1, 1, 1]),
        ("5-D", [5, -1, -1, -1, 35, 2, 1, 1]),
        ("all 32767", [4, 32767, 32767, 32767, 32767, 1, 1, 1]),
        ("rank 9", [9, -1, -1, -1, 70, 1, 1, 1]),
        ("one volume more than there is", [4, -1, -1, -1, N_VOLUMES + 1, 1, 1, 1]),
    ):
        yield run_case(kind, f"dims: {name}", lambda r, d=dim: _dims(r, d), REFUSED)
    for mm in (1.0, 500.0):
        shift = np.diag([1.0, 1, 1, 1])
        shift[1, 3] = mm
        yield run_case(
            kind,
            f"qform {mm:g} mm apart",
            lambda r, s=shift: _set(header={"qform": s @ r.affine})(r),
            EITHER if mm < 2 else REFUSED,
        )
    turned = np.diag([-1.0, 1, -1, 1])
    yield run_case(
        kind,
        "qform turned about y",
        lambda r: _set(header={"qform": turned @ r.affine, "sform_code": 1, "qform_code": 1})(r),
        REFUSED,
    )


def _turned(run: Run, axes: str, mask_too: bool = True) -> None:
    volumes = [turn(run.data[..., t], run.affine, axes)[0] for t in range(run.data.shape[-1])]
    mask, affine = turn(run.mask, run.affine, axes)
    run.data, run.header = np.stack(volumes, axis=-1), {"affine": affine}
    if mask_too:
        run.mask, run.mask_header = mask, {"affine": affine}


def _dims(run: Run, dim: list[int]) -> None:
    shape = [0, *run.data.shape[:3]]
    run.header = {
        "dim": [
            shape[n] if n in {1, 2, 3} and value == -1 else value for n, value in enumerate(dim)
        ]
    }


def _repetition() -> Iterable[Case]:
    kind = "BOLD, t_r"
    yield run_case(kind, "milliseconds", _set(header={"t_r": 2000.0, "xyzt_units": MM | MSEC}))
    yield run_case(kind, "microseconds", _set(header={"t_r": 2e6, "xyzt_units": MM | USEC}))
    yield run_case(kind, "milliseconds said to be seconds", _set(header={"t_r": 2000.0}), EITHER)
    yield run_case(
        kind,
        "header 1 s beside a right sidecar, as fMRIPrep 23.2 writes",
        _set(header={"t_r": 1.0}),
    )
    yield run_case(
        kind,
        "header 1 s and unit unknown beside a right sidecar",
        _set(header={"t_r": 1.0, "xyzt_units": MM}),
    )
    yield run_case(
        kind, "header 1 s, --t-r 2", _set(header={"t_r": 1.0}, options=("--t-r", "2"), sidecar={})
    )
    yield run_case(kind, "header 0 beside a right sidecar", _set(header={"t_r": 0.0}))
    yield run_case(kind, "header NaN beside a right sidecar", _set(header={"t_r": np.nan}))
    yield run_case(
        kind, "header negative beside a right sidecar", _set(header={"t_r": -2.0}), EITHER
    )
    yield run_case(
        kind, "header 2.5 s where the sidecar says 2 s", _set(header={"t_r": 2.5}), REFUSED
    )
    yield run_case(
        kind, "header 2.5 s, --t-r 2", _set(header={"t_r": 2.5}, options=("--t-r", "2")), RIGHT
    )
    yield run_case(
        kind,
        "header and sidecar 3 s",
        _set(header={"t_r": 3.0}, sidecar={"RepetitionTime": 3.0}),
        NO_SCORE,
        doors=("run",),
    )
    for value in (2000, 0, -2, "2", None, True, [2], 1e999, float("nan"), 1e-9, "two"):
        right = EITHER if value == "2" else REFUSED
        yield run_case(kind, f"sidecar {value!r}", _set(sidecar={"RepetitionTime": value}), right)
    for name, text in (
        ("damaged", "{"),
        ("empty", ""),
        ("a list", "[]"),
        ("nested 100,000 deep", '{"a":' * 100_000),
        ("number of 10,000 digits", '{"RepetitionTime": ' + "1" * 10_000 + "}"),
        ("text", "RepetitionTime: 2"),
        ("NULs", "\0" * 100),
    ):
        yield run_case(kind, f"sidecar: {name}", _set(sidecar=text), REFUSED)
    yield run_case(
        kind,
        "sidecar with a byte-order mark",
        _set(sidecar='\ufeff{"RepetitionTime": 2.0}'),
        EITHER,
    )
    yield run_case(
        kind, "no sidecar", _set(after=lambda f, _: next(f.glob("*.json")).unlink()), EITHER
    )
    yield run_case(
        kind,
        "sidecar a FIFO",
        _set(after=lambda f, _: _replaced(next(f.glob("*.json")), os.mkfifo)),
        REFUSED,
    )
    yield run_case(
        kind,
        "sidecar /dev/zero",
        _set(
            after=lambda f, _: _replaced(
                next(f.glob("*.json")), lambda p: p.symlink_to("/dev/zero")
            )
        ),
        REFUSED,
    )
    for value in ("0", "-2", "nan", "inf", "1e9"):
        yield run_case(
            kind,
            f"--t-r={value}",
            _set(options=(f"--t-r={value}",)),
            REFUSED | {"error, all results lost"},
            doors=("run",),
            alone=True,
        )


def _replaced(path: Path, write: Callable[[Path], Any]) -> None:
    path.unlink()
    write(path)


def _masks() -> Iterable[Case]:
    kind = "BOLD, mask"
    for name, change, right in (
        ("0 and 255", lambda mask: mask * 255, RIGHT),
        ("0 and 2", lambda mask: mask * 2, EITHER),
        ("all 0", lambda mask: mask * 0, REFUSED),
        ("all 1", lambda mask: mask * 0 + 1, EITHER),
        ("labels", lambda mask: mask * (1 + np.indices(mask.shape)[0] % 5), EITHER),
    ):
        yield run_case(
            kind, name, lambda r, c=change: _set(mask=c(r.mask).astype(np.uint8))(r), right
        )
    for name, change, right, fields in (
        ("float 0 and 1", lambda mask: mask, RIGHT, {"code": "f4"}),
        ("0.9999 for 1", lambda mask: mask * 0.9999, EITHER, {"code": "f4"}),
        ("1e-6 for 0", lambda mask: np.where(mask, 1, 1e-6), EITHER, {"code": "f4"}),
        (
            "scaled zero of int16",
            lambda mask: mask,
            EITHER,
            {"code": "i2", "slope": 3.1e-5, "inter": 1e-5},
        ),
        (
            "probabilities",
            lambda mask: mask * (0.5 + np.indices(mask.shape)[0] / 40),
            EITHER,
            {"code": "f4"},
        ),
        ("NaN for 0", lambda mask: np.where(mask, 1, np.nan), EITHER, {"code": "f4"}),
        ("NaN for 1", lambda mask: np.where(mask, np.nan, 0), REFUSED, {"code": "f4"}),
        ("infinite for 1", lambda mask: np.where(mask, np.inf, 0), EITHER, {"code": "f4"}),
        ("-1 for 1", lambda mask: mask * -1.0, EITHER, {"code": "f4"}),
        ("inverted", lambda mask: 1.0 - mask, NO_SCORE, {"code": "f4"}),
        ("complex", lambda mask: mask, REFUSED, {"code": "c8"}),
    ):
        yield run_case(
            kind,
            name,
            lambda r, c=change, f=fields: _set(
                mask=np.asarray(c(r.mask), np.float32), mask_header=f
            )(r),
            right,
        )
    yield run_case(kind, "another grid", lambda r: _set(mask=r.mask[:-1])(r), REFUSED)
    yield run_case(
        kind,
        "another place",
        lambda r: _set(mask_header={"affine": r.affine + _shift(24)})(r),
        REFUSED,
    )
    for name, change in (
        ("missing", Path.unlink),
        ("empty", lambda p: p.write_bytes(b"")),
        ("garbage", lambda p: p.write_bytes(b"garbage" * 100)),
        ("a FIFO", lambda p: _replaced(p, os.mkfifo)),
        ("a folder", lambda p: _replaced(p, Path.mkdir)),
        ("/dev/zero", lambda p: _replaced(p, lambda q: q.symlink_to("/dev/zero"))),
        ("a link to itself", lambda p: _replaced(p, lambda q: q.symlink_to(q))),
        (
            "a DataLad pointer",
            lambda p: _replaced(p, lambda q: q.symlink_to(".git/annex/objects/x")),
        ),
        ("cut", lambda p: p.write_bytes(p.read_bytes()[:100])),
    ):
        right = EITHER if name == "missing" else REFUSED
        yield run_case(
            kind,
            f"file {name}",
            _set(after=lambda f, _, c=change: c(next(f.glob("*_mask.nii.gz")))),
            right,
        )


def _shift(mm: float) -> Array:
    shift = np.zeros((4, 4))
    shift[0, 3] = mm
    return shift


def _confounds() -> Iterable[Case]:
    kind = "BOLD, confounds"

    def table(
        name: str, change: Callable[[pd.DataFrame], pd.DataFrame], right: Answers = REFUSED
    ) -> Case:
        return run_case(kind, name, lambda r: _set(confounds=change(r.confounds))(r), right)

    def text(name: str, change: Callable[[str], str | bytes], right: Answers = REFUSED) -> Case:
        def encode(content: str) -> bytes:
            changed = change(content)
            return changed.encode() if isinstance(changed, str) else changed

        return run_case(kind, name, _set(confounds_text=encode), right)

    def cell(value: str, row: int = 5, column: int = 0) -> Callable[[str], str]:
        def change(content: str) -> str:
            lines = content.split("\n")
            cells = lines[row].split("\t")
            cells[column] = value
            lines[row] = "\t".join(cells)
            return "\n".join(lines)

        return change

    yield table("one row missing", lambda t: t.iloc[:-1])
    yield table("one row too many", lambda t: pd.concat([t, t.iloc[-1:]]))
    yield table("no rows", lambda t: t.iloc[:0])
    yield table("no motion", lambda t: t[["framewise_displacement"]])
    yield table("no displacement", lambda t: t.drop(columns="framewise_displacement"), EITHER)
    yield table("constant motion", lambda t: t.assign(trans_x=0.0), RIGHT | {OTHER})
    yield table("a column twice", lambda t: pd.concat([t, t[["trans_x"]]], axis=1), EITHER)
    yield table(
        "100 further columns", lambda t: t.assign(**{f"x{n}": 1.0 for n in range(100)}), RIGHT
    )
    yield table("motion of 1e9 mm", lambda t: t.assign(framewise_displacement=1e9), NO_SCORE)
    yield table("columns turned about", lambda t: t[t.columns[::-1]], RIGHT)
    yield text("byte-order mark", lambda c: "\ufeff" + c, RIGHT)
    yield text("CRLF", lambda c: c.replace("\n", "\r\n"), RIGHT)
    yield text("UTF-16", lambda c: c.encode("utf-16"), EITHER)
    yield text(
        "Latin-1 in a further column", lambda c: _further(c, "Müller").encode("latin-1"), EITHER
    )
    yield text("commas between", lambda c: c.replace("\t", ","))
    yield text("comma decimals throughout", lambda c: c.replace(".", ","), EITHER)
    yield text("empty", lambda _: "")
    yield text("header alone", lambda c: c.split("\n", 1)[0] + "\n")
    yield text("garbage", lambda _: b"\xff\xfe\0garbage" * 50)
    yield text(
        "100,000 columns",
        lambda c: "\n".join(
            line + "\t1" * 100_000 if n else line + "".join(f"\tc{k}" for k in range(100_000))
            for n, line in enumerate(c.strip().split("\n"))
        ),
        EITHER,
    )
    for value in ("0,21", "0.21 mm", "text", "1e999", "nan mm", "--", "\x1b[31m", "1 2"):
        yield text(f"a cell {value!r}", cell(value), EITHER)
    for value in ("n/a", ""):
        yield text(f"a cell {value!r}", cell(value), EITHER | {OTHER})
    yield text("a cell -9999", cell("-9999"), EITHER)
    yield text("a displacement of -9999", cell("-9999", 5, 6), EITHER)
    yield text("a displacement of '0,21'", cell("0,21", 5, 6), EITHER)
    for name, change in (
        ("missing", Path.unlink),
        ("a FIFO", lambda p: _replaced(p, os.mkfifo)),
        ("a folder", lambda p: _replaced(p, Path.mkdir)),
        ("/dev/zero", lambda p: _replaced(p, lambda q: q.symlink_to("/dev/zero"))),
        ("a link to itself", lambda p: _replaced(p, lambda q: q.symlink_to(q))),
        (
            "a DataLad pointer",
            lambda p: _replaced(p, lambda q: q.symlink_to(".git/annex/objects/x")),
        ),
    ):
        yield run_case(
            kind,
            f"file {name}",
            _set(after=lambda f, _, c=change: c(next(f.glob("*.tsv")))),
            REFUSED,
        )


def _further(content: str, value: str) -> str:
    lines = content.strip().split("\n")
    return "\n".join(f"{line}\t{value if n else 'name'}" for n, line in enumerate(lines)) + "\n"


def _values() -> Iterable[Case]:
    kind = "BOLD, values"
    for code, slope, inter in (
        ("i2", 0.05, 0.0),
        ("u2", 0.02, 0.0),
        ("i4", 1e-4, 0.0),
        ("f8", 1.0, 0.0),
        ("i2", -0.05, 100.0),
    ):
        yield run_case(
            kind,
            f"{np.dtype(code).name}, slope {slope:g}",
            _set(header={"code": code, "slope": slope, "inter": inter}),
        )
    yield run_case(kind, "complex", _set(header={"code": "c8"}), REFUSED)

    def changed(
        name: str, change: Callable[[Array], Array], right: Answers = NO_SCORE, **more: Any
    ) -> Case:
        return run_case(kind, name, lambda r: _set(data=change(r.data))(r), right, **more)

    def spike(value: float, volumes: slice) -> Callable[[Array], Array]:
        def change(data: Array) -> Array:
            where = np.argwhere(data[..., 0] > 0)
            x, y, z = where[len(where) // 2]
            data[x, y, z, volumes] = value
            return data

        return change

    yield changed("all 0", lambda d: d * 0)
    yield changed("all NaN", lambda d: d * np.float32(np.nan))
    yield changed("constant in time", lambda d: np.repeat(d[..., :1], d.shape[-1], axis=-1))
    yield changed("one volume infinite", spike(np.inf, slice(10, 11)), REFUSED | ANY)
    yield changed("one voxel 1e9 in one volume", spike(1e9, slice(10, 11)), NO_SCORE)
    yield changed("one voxel NaN in one volume", spike(np.nan, slice(10, 11)), ANY)
    yield changed("one voxel 0 throughout", spike(0, slice(None)), RIGHT, tolerance=0.1)
    yield changed("first volume 0", _first_volume, EITHER)
    yield changed("a quarter of the brain", _quarter)
    yield changed("times 1e6", lambda d: d * np.float32(1e6), EITHER)  # percent signal is the same
    yield changed("times 1e-6", lambda d: d * np.float32(1e-6), EITHER)
    yield changed("cleaned already", lambda d: d - d.mean(axis=-1, keepdims=True))
    yield run_case(
        kind,
        "a quarter of the brain, int16",
        lambda r: _set(data=_quarter(r.data), header={"code": "i2", "slope": 0.05, "inter": 0.01})(
            r
        ),
        NO_SCORE,
    )


def _first_volume(data: Array) -> Array:
    data[..., 0] = 0
    return data


def _quarter(data: Array) -> Array:
    data[:, :, data.shape[2] // 3 :] = 0
    return data


def _files() -> Iterable[Case]:
    kind = "BOLD, file"

    def packed(name: str, pack: Callable[[bytes], bytes], right: Answers = REFUSED) -> Case:
        return run_case(kind, name, _set(image=pack), right)

    yield packed("not compressed, named .nii.gz", lambda c: c, EITHER)
    yield packed("two members", lambda c: pack_gzip(c[:5000]) + pack_gzip(c[5000:]), RIGHT)
    yield packed("bomb behind", lambda c: bomb(c, 4 << 30), EITHER)
    yield packed("bomb of zeros", lambda _: bomb(b"", 4 << 30))
    yield packed("bomb behind the header", lambda c: bomb(c[:352], 4 << 30))
    yield packed("garbage behind", lambda c: pack_gzip(c) + b"garbage", EITHER)
    yield packed("check sum altered", lambda c: pack_gzip(c)[:-6] + b"\0\0\0\0\0\0")
    yield packed("compressed twice", lambda c: pack_gzip(pack_gzip(c)))
    yield packed("garbage", lambda _: b"garbage" * 100)
    yield packed("of AFNI", lambda c: pack_gzip(_with_extension(c)), RIGHT)
    for n in (0, 10, 100, 300, 5000, -100, -9):
        yield packed(f"cut at {n}", lambda c, n=n: pack_gzip(c)[:n])
    for name, change in (
        ("missing", Path.unlink),
        ("a FIFO", lambda p: _replaced(p, os.mkfifo)),
        ("a folder", lambda p: _replaced(p, Path.mkdir)),
        ("/dev/zero", lambda p: _replaced(p, lambda q: q.symlink_to("/dev/zero"))),
        ("/dev/null", lambda p: _replaced(p, lambda q: q.symlink_to("/dev/null"))),
        ("a link to itself", lambda p: _replaced(p, lambda q: q.symlink_to(q))),
        (
            "a DataLad pointer",
            lambda p: _replaced(p, lambda q: q.symlink_to(".git/annex/objects/x")),
        ),
        ("a hole of 1 TiB", lambda p: _hole(p, 1 << 40)),
    ):
        yield run_case(kind, name, _set(after=lambda _, i, c=change: c(i)), REFUSED)
    for name, text in (
        ("escape sequence", "sub-01\x1b[31m_task-rest"),
        ("newline", "sub-01\n_task-rest"),
        ("Latin-1", "sub-m\udcfcller_task-rest"),
        ("emoji", "sub-\U0001f9e0_task-rest"),
        ("blank", "sub-01 b_task-rest"),
        ("comma", "sub-01,b_task-rest"),
    ):
        yield run_case(kind, f"name: {name}", _set(name=f"{text}_space-{SPACE}"), EITHER)
    yield run_case(
        kind,
        "name: other task",
        _set(name=f"sub-01_task-pain_space-{SPACE}"),
        REFUSED,
        doors=("run",),
    )
    yield run_case(
        kind, "name: other space", _set(name="sub-01_task-rest_space-T1w"), REFUSED, doors=("run",)
    )


def _with_extension(content: bytes) -> bytes:
    from benchmarks.corpus.craft import extension, patch

    more = extension(4, b"<AFNI_attributes>" + b"x" * 9000)
    return patch(content[:348], vox_offset=352 + len(more)) + b"\1\0\0\0" + more + content[352:]


def _hole(path: Path, n_bytes: int) -> None:
    with path.open("ab") as file:
        file.truncate(n_bytes)


def _folders() -> Iterable[Case]:
    kind = "BOLD, folder"
    only = ("run",)
    yield run_case(kind, "plain", doors=only, folder_given=True)
    yield run_case(
        kind,
        "dataset_description.json damaged",
        _set(after=lambda f, _: (f.parents[1] / "dataset_description.json").write_text("{")),
        EITHER,
        doors=only,
        folder_given=True,
    )
    yield run_case(
        kind,
        "dataset_description.json a FIFO",
        _set(after=lambda f, _: os.mkfifo(f.parents[1] / "dataset_description.json")),
        EITHER,
        doors=only,
        folder_given=True,
    )
    yield run_case(
        kind,
        "a link to the folder itself",
        _set(after=lambda f, _: (f / "loop").symlink_to(f)),
        doors=only,
        folder_given=True,
    )
    yield run_case(
        kind,
        "image a FIFO",
        _set(after=lambda _, i: _replaced(i, os.mkfifo)),
        REFUSED,
        doors=only,
        folder_given=True,
    )
    yield run_case(
        kind,
        "image empty",
        _set(after=lambda _, i: i.write_bytes(b"")),
        REFUSED,
        doors=only,
        folder_given=True,
    )
    yield run_case(
        kind,
        "image named .NII.GZ",
        _set(after=lambda _, i: i.rename(i.with_name(i.name.replace(".nii.gz", ".NII.GZ")))),
        EITHER,
        doors=only,
        folder_given=True,
    )
    yield run_case(
        kind,
        "an empty person beside",
        _set(after=lambda f, _: (f.parents[1] / "sub-02").mkdir()),
        EITHER,
        doors=only,
        folder_given=True,
    )
