"""Images on disk: reading to and writing from `Volume`. The only importer of nibabel."""

import io
import logging
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.arrayproxy import ArrayProxy
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from fmnet.data.image_files import (
    ACCEPTED,
    SPARE_BYTES,
    RawImage,
    damaged,
    image_files,
    is_packed,
    read_file,
    read_start,
    unpack,
    unpack_start,
)
from fmnet.data.spm_mat import read_matrices, write_matrices
from fmnet.data.values import blank_background, header_stat
from fmnet.data.volume import SPACES, Affine, FloatArray, Volume, check_affine, check_space
from fmnet.errors import Fault, VolumeError

#: Millimetres in each unit of length that NIfTI knows, by its code.
UNITS = {1: ("metre", 1e3), 2: ("mm", 1.0), 3: ("micron", 1e-3)}
#: Names of the spaces that forms lead to, by code, and the codes from unknown to most specific.
SPACE_NAMES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI", 5: "another template"}
SPECIFIC = (0, 1, 2, 3, 5, 4)
#: In mm: edges of voxels, and lengths of volumes, outside of which no image is one of a human head.
#: One slice, or a box of a few voxels, is short along one or two axes, and slices may be thick.
SHORTEST_EDGE, LONGEST_SHORTEST_EDGE = 0.05, 60.0
SHORTEST_LONGEST_SIDE, LONGEST_SIDE = 25.0, 1500.0
#: How far the squares of a quaternion may add up to more than 1, from rounding.
QUATERNION_ROUNDING = 2e-3
#: Forms agree where all corners of the volume lie nearer than half a voxel, or this in mm.
SAME_PLACE_MM = 1.0
#: Cosine of the angle beyond which axes of two forms are different ones.
SAME_AXIS = 0.7
REWRITE = "find out which is right and write the header again with the software that made the image"
ANALYZE_NOTE = "Analyze file states no handedness; read as SPM does, x stored from right to left"
#: What speaks against where voxels are said to start, in a file that holds more than they take.
INSIDE_EXTENSION = "voxels are said to start inside an extension of the header"
UNSAID_START = "more bytes than voxels take, and none said to be the first (vox_offset 0)"
#: Voxels of a map, and their bytes: a head at 0.6 mm, for which a GB of memory is enough.
MAX_VOXELS, MAX_BYTES = 1 << 25, 1 << 28
#: Where voxels may start at the latest: NIfTI-1's float32 can't count single bytes beyond.
MAX_OFFSET = 1 << 24
#: Bytes of SPM's ``.mat``, which holds two matrices.
MAX_MAT_BYTES = 1 << 14


def read_geometry(fields: Any, shape: tuple[int, ...], name: str) -> tuple[Affine, int, str]:
    """Read where the voxels of a NIfTI image lie, in mm whatever the header's unit.

    Where sform and qform are both set, the one whose code names the more specific space holds: MNI
    over Talairach over aligned over scanner. With one code for both they have to agree. Returned
    are the affine from voxel index to mm, the code of the form that it comes from, and what a
    reader of the results should know, empty if nothing.

    Raises
    ------
    VolumeError
        If no form is set or one can't be used, if two contradict each other, or if the size is not
        that of an image of a head.
    """
    unit, mm = UNITS.get(int(fields["xyzt_units"]) & 7, ("", 1.0))
    codes = {form: int(fields[f"{form}_code"]) for form in ("sform", "qform")}
    _check_codes(codes, name)
    used = max(codes, key=lambda form: (SPECIFIC.index(codes[form]), form))  # sform before qform
    forms: dict[str, list[Affine]] = {}
    if codes["sform"]:
        rows = [fields[f"srow_{axis}"] for axis in "xyz"]
        forms["sform"] = [np.array([*rows, [0, 0, 0, 1]], dtype=float)]
    if codes["qform"]:
        forms["qform"] = _read_qform(fields, used == "qform", name)
    for form in (form for readings in forms.values() for form in readings):
        form[:3] *= mm
        if mm != 1:  # without float32's rounding, which moves points halfway between two voxels
            form[:3, :3], form[:3, 3] = form[:3, :3].round(6), form[:3, 3].round(4)
        check_affine(form, name)
    affine, note = forms[used][0], ""
    if len(shape) > 2:
        check_size(affine, shape, name, unit)
    if len(forms) == 2:
        sform = forms["sform"][0]
        qform = min(forms["qform"], key=lambda form: _distance(form, sform, shape))
        note = _compare(sform, qform, shape, codes, used, name)
    return affine, codes[used], note


def check_size(affine: Affine, shape: tuple[int, ...], name: str, unit: str = "") -> None:
    """Raise `VolumeError` if an image is far too small or too large for one of a human head.

    `affine` is from voxel index to mm; `unit` the header's unit of length, empty if it states none.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    sides = edges * shape[:3]
    if (
        SHORTEST_EDGE <= edges.min() <= LONGEST_SHORTEST_EDGE
        and SHORTEST_LONGEST_SIDE <= sides.max() <= LONGEST_SIDE
    ):
        return
    each, whole = (" x ".join(f"{length:.3g}" for length in some) for some in (edges, sides))
    stated = f"the header's unit is {unit}" if unit else "the header states no unit: mm"
    found = f"voxels of {each} mm, in all {whole} mm ({stated})"
    accepted = f"voxel edges of {SHORTEST_EDGE:g} mm and more, and a longest side from "
    accepted += f"{SHORTEST_LONGEST_SIDE:g} to {LONGEST_SIDE:g} mm"
    action = "correct the unit (xyzt_units), the affine or the dimensions in the header"
    raise VolumeError(Fault(name, found, accepted, action))


def _check_codes(codes: dict[str, int], name: str) -> None:
    if not any(codes.values()):
        found = "no stated orientation (qform_code and sform_code are 0)"
        action = "write the header again with the software that made the map; left and right "
        action += "can't be told apart without it"
        raise VolumeError(Fault(name, found, "a NIfTI header with one of the two set", action))
    for form, code in codes.items():
        if code not in SPECIFIC:
            raise VolumeError(Fault(name, f"{form}_code {code}", "a code from 0 to 5", REWRITE))


def _read_qform(fields: Any, is_used: bool, name: str) -> list[Affine]:
    """Read the qform: one affine, or the two that it may stand for if it isn't used.

    The first entry of pixdim says whether z is reversed: 1 or -1, and 0 is read as 1. Of other
    values nothing follows.
    """
    vector = np.array([fields[f"quatern_{part}"] for part in "bcd"], dtype=np.longdouble)
    rest = 1 - vector @ vector
    edges = np.abs(np.array(fields["pixdim"][1:4], dtype=float))
    qfac = float(fields["pixdim"][0])
    accepted, found = "a quaternion of length 1", ""
    if not rest >= -QUATERNION_ROUNDING:
        found = f"a qform whose quaternion is none (b, c, d: {vector.astype(float).tolist()})"
    elif not (np.isfinite(edges).all() and edges.all()):
        found, accepted = f"a qform with voxels of {edges.tolist()} (pixdim)", "lengths above 0"
    elif qfac not in {-1.0, 0.0, 1.0} and is_used:
        found = f"a qform that reverses z or not by pixdim[0] {qfac:g}"
        accepted = "1 or -1 (0 is read as 1)"
    if found:
        raise VolumeError(Fault(name, found, accepted, REWRITE))
    rounding = 3 * np.finfo(fields["quatern_b"].dtype).eps  # as nibabel has it
    scalar = np.sqrt(rest) if rest >= rounding else np.longdouble(0)
    w, x, y, z = quaternion = np.array([scalar, *vector])
    s = 2 / (quaternion @ quaternion)
    turn = np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )
    forms = []
    for sign in [qfac or 1.0] if qfac in {-1.0, 0.0, 1.0} else [1.0, -1.0]:
        form = np.eye(4)
        form[:3, :3] = turn * edges * [1, 1, sign]
        form[:3, 3] = [fields[f"qoffset_{axis}"] for axis in "xyz"]
        forms.append(form)
    return forms


def _compare(
    sform: Affine,
    qform: Affine,
    shape: tuple[int, ...],
    codes: dict[str, int],
    used: str,
    name: str,
) -> str:
    """Compare two forms; say which is used where they differ, or raise `VolumeError`."""
    # a qform can't hold shears; software then writes the nearest turn, by polar decomposition
    edges = np.linalg.norm(sform[:3, :3], axis=0)
    left, _, right = np.linalg.svd(sform[:3, :3] / edges)
    unsheared = sform.copy()
    unsheared[:3, :3] = left @ right * edges
    apart = min(_distance(form, qform, shape) for form in (sform, unsheared))
    near = max(SAME_PLACE_MM, float(edges.min()) / 2)
    s_axes, q_axes = (
        form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (sform, qform)
    )
    is_turned = bool(((s_axes * q_axes).sum(axis=0) < SAME_AXIS).any())
    if apart <= near and not is_turned:
        return ""
    is_mirrored = bool(np.linalg.det(s_axes) * np.linalg.det(q_axes) < 0)
    is_swapped = is_mirrored or bool(s_axes[0] @ q_axes[0] < 0)
    spaces = {form: f"{form} ({SPACE_NAMES[code]})" for form, code in codes.items()}
    if is_mirrored or codes["sform"] == codes["qform"]:
        differ = "swap left and right between them" if is_swapped else "disagree"
        found = f"sform and qform that {differ} (codes: {codes['sform']} and {codes['qform']}; "
        found += f"corners of the volume up to {apart:.3g} mm apart)"
        accepted = f"forms that agree within {near:.2g} mm, or codes of two spaces"
        accepted = "one handedness" if is_mirrored else accepted
        raise VolumeError(Fault(name, found, accepted, REWRITE))
    other = spaces["sform" if used == "qform" else "qform"]
    differ = "disagree about left and right" if is_swapped else "differ"
    return f"{spaces[used]} is used; it and {other} {differ}"


def _distance(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the same corner of a volume under two affines."""
    last = np.array([*shape[:3], 1, 1][:3]) - 1
    corners = np.array([*np.ndindex(2, 2, 2)]) * last  # (8, 3)
    between = one - other
    return float(np.linalg.norm(corners @ between[:3, :3].T + between[:3, 3], axis=1).max())


def read_volume(source: Path | RawImage, space: str) -> Volume:
    """Read one map, turned to RAS+: shape (1, X, Y, Z), in the file's own units, not resampled.

    `source` is a NIfTI-1, NIfTI-2 or Analyze file, single or pair, compressed or not; `space` the
    one that the map is said to be in, see `fmnet.data.volume.SPACES`. Background is NaN, see
    `fmnet.data.values.blank_background`.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, not an image, not 3-D, or without usable geometry.
    """
    name = str(source.path if isinstance(source, RawImage) else source)
    check_space(space, name, SPACES)
    return volume_from_image(load_image(source), space, name)


def volume_from_image(image: SpatialImage, space: str, name: str) -> Volume:
    """Turn a loaded 3-D image into a `Volume` in RAS+; faults carry `name`."""
    shape = image.shape[:3] if image.shape[3:] in {(), (1,)} else ()
    if len(shape) != 3 or 0 in shape:
        action = "split a 4-D file into maps, or give the contrast map instead of the time series"
        found = f"an image of shape {image.shape}"
        raise VolumeError(Fault(name, found, "one 3-D map (X, Y, Z)", action))
    check_affine(np.asarray(image.affine, dtype=float), name)
    data = _values(image, name).reshape(shape)
    ras = nib.as_closest_canonical(nib.Nifti1Image(data, image.affine))
    values = np.ascontiguousarray(np.asarray(ras.dataobj, dtype=np.float32)[None])
    stat, note = header_stat(image.header), image.extra.get("note", "")
    return Volume(values, np.asarray(ras.affine, dtype=float), space, name, stat, note)


def load_image(source: Path | RawImage) -> SpatialImage:
    """Load an image and check that its header and handedness can be trusted; geometry in mm.

    What is to be said of its geometry, see `Header`, is the entry ``note`` of its ``extra``.
    """
    raw = source if isinstance(source, RawImage) else read_raw(source)
    path, header = raw.path, _header_of(raw)
    most = {"image": header.n_bytes, "header": MAX_OFFSET, "mat": MAX_MAT_BYTES}
    contents = {role: unpack(file, held, most[role]) for role, (file, held) in raw.parts.items()}
    spare = len(contents["image"]) - header.n_bytes
    if spare < 0:
        raise damaged(path, EOFError(f"{-spare} bytes short of what its header claims"))
    if spare > 0 and header.doubt:
        raise damaged(path, ValueError(header.doubt))
    note = _add_spare(header.note, spare)
    numbers = (header.shape, header.dtype, header.offset, header.slope, header.intercept)
    values = ArrayProxy(io.BytesIO(contents["image"]), numbers, mmap=False)
    if header.image_class is not nib.Spm99AnalyzeImage:
        return header.image_class(values, header.affine, header.fields, {"note": note})
    if "mat" in contents:  # what SciPy may die of is read here, and written anew for nibabel
        try:
            contents["mat"] = write_matrices(read_matrices(contents["mat"]))
        except ValueError as error:
            raise damaged(raw.parts["mat"][0], error) from error
    file_map = {role: nib.FileHolder(fileobj=io.BytesIO(held)) for role, held in contents.items()}
    # SPM's Analyze class wants its third file, and takes an empty one for none.
    file_map.setdefault("mat", nib.FileHolder(fileobj=io.BytesIO()))
    try:
        with LoggingOutputSuppressor():  # which leaves none, and Python then writes by itself
            imageglobals.logger.addHandler(logging.NullHandler())
            image: SpatialImage = header.image_class.from_file_map(file_map)
        affine = np.array(image.affine, dtype=float)
    except Exception as error:  # each way to be damaged raises another type, SciPy's among them
        raise damaged(path, error) from error
    check_affine(affine, str(path))
    if len(header.shape) > 2:  # else `volume_from_image` refuses it
        check_size(affine, header.shape, str(path))
    image.extra["note"] = "" if "mat" in contents else note
    return image


def read_raw(path: Path) -> RawImage:
    """Read the file, or the two or three files, of a map, once its header has been looked at.

    Raises
    ------
    VolumeError
        If one of them is missing, damaged, no regular file, or far larger than the header claims;
        or if that is more than `MAX_VOXELS` or `MAX_BYTES`.
    """
    files = image_files(path)
    header = read_header(read_start(files.get("header", files["image"])), path, "header" in files)
    n_voxels, n_bytes = math.prod(header.shape), header.n_bytes - header.offset
    if n_voxels > MAX_VOXELS or n_bytes > MAX_BYTES:
        found = f"an image of shape {header.shape}, {n_bytes / 2**20:,.0f} MiB"
        accepted = f"a 3-D map of up to {MAX_VOXELS >> 20} million voxels (a head at 0.6 mm)"
        accepted += f" and {MAX_BYTES >> 20} MiB"
        action = "give the contrast map, no time series, resampled to 1 mm or more"
        raise VolumeError(Fault(str(path), found, accepted, action))
    most = {
        "image": header.n_bytes + SPARE_BYTES,
        "header": MAX_OFFSET + SPARE_BYTES,
        "mat": MAX_MAT_BYTES,
    }
    parts = {role: (file, read_file(file, most[role])) for role, file in files.items()}
    return RawImage(path, parts)


@dataclass(frozen=True, eq=False)
class Header:
    """What an image says of itself, its geometry in mm; extensions are not looked into.

    Parameters
    ----------
    fields, image_class
        nibabel's header with all that the file states, the form in use as its sform, in mm; and
        nibabel's class of the whole image.
    shape, dtype
        Voxels along the file's axes, none 0; type of its numbers, with its byte order.
    slope, intercept : float
        What they are multiplied by and what is added then.
    offset : int
        Bytes before the first voxel.
    doubt : str
        What speaks against that offset if the file holds more bytes than `n_bytes`; empty if
        nothing.
    affine : ndarray, shape (4, 4)
        Of the file's own axes.
    note : str
        What a reader of the results should know about the geometry; empty if nothing.
    """

    fields: Any
    image_class: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    offset: int
    doubt: str
    affine: Affine
    note: str

    @property
    def n_bytes(self) -> int:
        """Bytes of the unpacked file up to the last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    @property
    def description(self) -> str:
        """How the image is written: ``65x77x60 of 3x3x3.3 mm, RAS, float32``."""
        shape = "x".join(map(str, self.shape[:3]))
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)[: len(self.shape)]
        edges = "x".join(f"{edge:.4g}" for edge in lengths)
        axes = "".join(axis or "?" for axis in nib.aff2axcodes(self.affine))
        return f"{shape} of {edges} mm, {axes}, {self.dtype.name}"


def read_header(start: bytes, path: Path, is_pair: bool = False) -> Header:
    """Read the header of an image from the first bytes of its file, and check that it holds.

    `start` is the header at least, unpacked; less is a damaged file. Of a pair, the voxels are in
    another file.

    Raises
    ------
    VolumeError
        If they are no header of NIfTI-1, NIfTI-2 or, of a pair, Analyze, or one without usable
        orientation, or of an image far too small or large for a head.
    """
    image_class, size, byte_order = _sniff(start, is_pair, path)
    try:
        fields = image_class.header_class(start[:size], byte_order, check=False)
        shape = tuple(int(n) for n in fields.get_data_shape())
        dtype = fields.get_data_dtype()
        slope, intercept = fields.get_slope_inter()
    except Exception as error:  # nibabel raises a different type for each way to be damaged
        raise damaged(path, error) from error
    if not 1 <= fields["dim"][0] <= 7 or min(shape) < 1:
        action = "write the map again, as X x Y x Z voxels"
        raise VolumeError(Fault(str(path), f"an image of shape {shape}", ACCEPTED, action))
    flag, esize = start[size : size + 1], start[size + 4 : size + 8]
    has_extension = not is_pair and flag not in {b"", b"\0"} and len(esize) == 4
    extension_end = size + 4 + struct.unpack(f"{byte_order}i", esize)[0] if has_extension else 0
    offset = _offset(float(fields["vox_offset"]), 0 if is_pair else size + 4, extension_end, path)
    doubt = INSIDE_EXTENSION if extension_end > offset else ""
    if not is_pair and fields["vox_offset"] == 0:
        doubt = UNSAID_START
    if image_class is nib.Spm99AnalyzeImage:
        affine, note = np.asarray(fields.get_best_affine(), dtype=float), ANALYZE_NOTE
        check_affine(affine, str(path))
    else:
        affine, code, note = read_geometry(fields, shape, str(path))
        fields.set_sform(affine, code)
        fields["xyzt_units"] = 2 | (int(fields["xyzt_units"]) & 0x38)  # mm, and its unit of time
    fields["vox_offset"] = 0  # as in all headers of nibabel's images
    try:
        # what nibabel says about a doubtful header comes as a fault, or not at all
        fields.check_fix(logging.Logger("silent", logging.CRITICAL + 1))
    except HeaderDataError as error:
        raise damaged(path, error) from error
    scaling = (1.0 if slope is None else float(slope), float(intercept or 0.0))
    return Header(fields, image_class, shape, dtype, *scaling, offset, doubt, affine, note)


def _header_of(raw: RawImage) -> Header:
    start = unpack_start(*raw.parts.get("header", raw.parts["image"]))
    return read_header(start, raw.path, "header" in raw.parts)


def _offset(stated: float, least: int, extension_end: int, path: Path) -> int:
    """Tell where voxels start; 0 in a single file stands for the first place that is possible."""
    if stated == 0 and not extension_end:
        return least
    if least <= stated <= MAX_OFFSET and stated.is_integer():
        return int(stated)
    found, action = (
        f"voxels said to start at byte {stated:g} (vox_offset)",
        "write the image again with the software that made it",
    )
    accepted = f"a whole number from {least} to {MAX_OFFSET}"
    raise VolumeError(Fault(str(path), found, accepted, action))


def ras_order(shape: tuple[int, ...], affine: Affine) -> tuple[NDArray[np.intp], Affine]:
    """Tell where in a file's volume each voxel of the same volume in RAS+ lies.

    `shape` counts voxels along the file's three axes, the first of which runs fastest. Returned are
    the index in the file's volume of each voxel in RAS+, (X, Y, Z), and the affine in RAS+.
    """
    indices = np.arange(np.prod(shape), dtype=np.int64).reshape(shape, order="F")
    ras = nib.as_closest_canonical(nib.Nifti1Image(indices, affine, dtype=np.int64))
    order = np.ascontiguousarray(np.asarray(ras.dataobj)).astype(np.intp, copy=False)
    return order, np.asarray(ras.affine, dtype=float)


def describe_grid(source: Path | RawImage) -> str:
    """Say how an image is written: ``65x77x60 of 3x3x3.3 mm, RAS, float32``."""
    return _header_of(source if isinstance(source, RawImage) else read_raw(source)).description


def stated_stat(source: Path | RawImage) -> str:
    """Read off an image's header what its values are, see `fmnet.data.values.header_stat`."""
    raw = source if isinstance(source, RawImage) else read_raw(source)
    return header_stat(_header_of(raw).fields)


def notes_on(path: Path) -> str:
    """Say what a reader of the results should know about this file; empty if nothing."""
    files = image_files(path)
    if "mat" in files:
        return ""
    image = files["image"]
    header = read_header(read_start(files.get("header", image)), path, "header" in files)
    spare = 0 if is_packed(image) else image.stat().st_size - header.n_bytes
    return _add_spare(header.note, spare)


def _add_spare(note: str, spare: int) -> str:
    """Add to a note how many bytes more than its header says a file holds, if it does."""
    told = f"the file holds {spare} bytes more than its header says" if spare > 0 else ""
    return "; ".join(filter(None, [note, told]))


def to_image(data: FloatArray, affine: Any) -> nib.Nifti1Image:
    """Wrap an array, shape (X, Y, Z) or (X, Y, Z, C), for nilearn."""
    return nib.Nifti1Image(data, affine)


def write_volume(volume: Volume, path: Path) -> None:
    """Write a `Volume` as NIfTI-1 with the MNI152 code set; channels become the fourth axis."""
    data = volume.data[0] if len(volume.data) == 1 else np.moveaxis(volume.data, 0, -1)
    _save_in_mni(nib.Nifti1Image(data, volume.affine), path, "mm")


def write_series(data: NDArray[Any], affine: Affine, t_r: float, path: Path) -> None:
    """Write a time series, shape (X, Y, Z, T), with its repetition time in seconds as NIfTI-1."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
    _save_in_mni(image, path, "mm", "sec")


def is_image(thing: Any) -> bool:
    """Tell whether something is an image of nibabel's."""
    return isinstance(thing, SpatialImage)


def volumes_of(image: SpatialImage) -> list[SpatialImage]:
    """List the volumes of an image, (X, Y, Z, N); one of (X, Y, Z) is its only one."""
    if len(image.shape) != 4:
        return [image]
    return [image.slicer[..., number] for number in range(image.shape[3])]


def write_copy(image: SpatialImage, path: Path) -> None:
    """Write an image as NIfTI-1, as it is; it doesn't remember `path` as its own.

    Real numbers in memory may stand under a header of integers, as that of a mask; they stay real.
    """
    copy = nib.Nifti1Image.from_image(image)
    if not nib.is_proxy(image.dataobj) and image.dataobj.dtype.kind == "f":
        copy.set_data_dtype(np.float32 if image.dataobj.dtype.itemsize <= 4 else np.float64)
    nib.save(copy, path)


def _save_in_mni(image: nib.Nifti1Image, path: Path, *units: str) -> None:
    affine = image.affine.copy()  # set_sform rounds the image's own
    image.header.set_xyzt_units(*units)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    nib.save(image, path)


def _values(image: SpatialImage, name: str) -> FloatArray:
    if image.get_data_dtype().kind not in "iuf":
        found, action = (
            f"values of type {image.get_data_dtype()}",
            "write the map with one number per voxel",
        )
        raise VolumeError(Fault(name, found, "integers or real numbers", action))
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # a short file surfaces as ValueError, OSError or EOFError
        raise damaged(Path(name), error) from error
    is_whole = image.get_data_dtype().kind in "iu"
    step = abs(float(getattr(image.dataobj, "slope", 1.0))) if is_whole else 0.0
    return blank_background(values, step / 2)


def _sniff(header: bytes, is_pair: bool, path: Path) -> tuple[Any, int, str]:
    """Tell the image class, the header's size and its byte order from its size and magic."""
    for byte_order in "<>":
        size = struct.unpack(f"{byte_order}i", header[:4].ljust(4, b"\0"))[0]
        if size == 540 <= len(header) and header[4:7] in {b"n+2", b"ni2"}:
            return (nib.Nifti2Pair if is_pair else nib.Nifti2Image), size, byte_order
        if size == 348 <= len(header) and header[344:347] in {b"n+1", b"ni1"}:
            return (nib.Nifti1Pair if is_pair else nib.Nifti1Image), size, byte_order
        if size == 348 <= len(header) and is_pair:
            return nib.Spm99AnalyzeImage, size, byte_order
    found = f"{len(header)} bytes that are no image header"
    action = "check that the file is what its name says"
    raise VolumeError(Fault(str(path), found, ACCEPTED, action))
