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
from nibabel.arrayproxy import ArrayProxy
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from fmnet.data.geometry import check_size, read_geometry
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
from fmnet.data.map_values import blank_background
from fmnet.data.statistic import header_stat
from fmnet.data.volume import SPACES, Affine, FloatArray, Volume, check_affine, check_space
from fmnet.errors import Fault, VolumeError

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


def read_volume(source: Path | RawImage, space: str) -> Volume:
    """Read one map, turned to RAS+.

    Parameters
    ----------
    source : Path or RawImage
        A NIfTI-1, NIfTI-2 or Analyze file, single or pair, compressed or not.
    space : str
        The space that the map is said to be in, see `fmnet.data.volume.SPACES`.

    Returns
    -------
    Volume
        One channel, shape (1, X, Y, Z), in the file's own units; no resampling has happened.
        Background is NaN, see `fmnet.data.map_values.blank_background`.

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
        raise VolumeError(
            Fault(
                name,
                f"an image of shape {image.shape}",
                "one 3-D map (X, Y, Z)",
                "split a 4-D file into maps, or give the contrast map instead of the time series",
            )
        )
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
    if not header.is_analyze:
        return header.image_class(values, header.affine, header.fields, {"note": note})
    if contents.get("mat") == b"":
        raise damaged(raw.parts["mat"][0], EOFError("empty"))
    file_map = {role: nib.FileHolder(fileobj=io.BytesIO(held)) for role, held in contents.items()}
    # SPM's Analyze class wants its third file, and takes an empty one for none.
    file_map.setdefault("mat", nib.FileHolder(fileobj=io.BytesIO()))
    try:
        with LoggingOutputSuppressor():
            image: SpatialImage = header.image_class.from_file_map(file_map)
        affine = np.array(image.affine, dtype=float)
    except Exception as error:  # each way to be damaged raises another type, SciPy's among them
        raise damaged(path, error) from error
    check_affine(affine, str(path))
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
    fields : nibabel header
        All that the file states; the form in use is its sform, in mm.
    image_class : type
        nibabel's, of the whole image.
    shape : tuple of int
        Voxels along the file's axes, none 0.
    dtype : dtype
        Of the numbers in the file, with its byte order.
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
    def is_analyze(self) -> bool:
        """Whether it is Analyze's, which states no handedness."""
        return self.image_class is nib.Spm99AnalyzeImage

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

    Parameters
    ----------
    start : bytes
        The header at least, unpacked; less is a damaged file.
    path : Path
        For messages.
    is_pair : bool
        Whether the voxels are in another file.

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
    return Header(
        fields,
        image_class,
        shape,
        dtype,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
        offset,
        doubt,
        affine,
        note,
    )


def _header_of(raw: RawImage) -> Header:
    start = unpack_start(*raw.parts.get("header", raw.parts["image"]))
    return read_header(start, raw.path, "header" in raw.parts)


def _offset(stated: float, least: int, extension_end: int, path: Path) -> int:
    """Tell where voxels start; 0 in a single file stands for the first place that is possible."""
    if stated == 0 and not extension_end:
        return least
    if least <= stated <= MAX_OFFSET and stated.is_integer():
        return int(stated)
    raise VolumeError(
        Fault(
            str(path),
            f"voxels said to start at byte {stated:g} (vox_offset)",
            f"a whole number from {least} to {MAX_OFFSET}",
            "write the image again with the software that made it",
        )
    )


def ras_order(shape: tuple[int, ...], affine: Affine) -> tuple[NDArray[np.intp], Affine]:
    """Tell where in a file's volume each voxel of the same volume in RAS+ lies.

    Parameters
    ----------
    shape : tuple of int
        Voxels along the file's three axes, the first of which runs fastest.
    affine : ndarray, shape (4, 4)
        Of the file.

    Returns
    -------
    order : ndarray of int, shape (X, Y, Z)
        Place in the file's volume, counted from 0, of each voxel in RAS+.
    affine : ndarray, shape (4, 4)
        In RAS+.
    """
    places = np.arange(np.prod(shape), dtype=np.int64).reshape(shape, order="F")
    ras = nib.as_closest_canonical(nib.Nifti1Image(places, affine, dtype=np.int64))
    order = np.ascontiguousarray(np.asarray(ras.dataobj)).astype(np.intp, copy=False)
    return order, np.asarray(ras.affine, dtype=float)


def describe_grid(source: Path | RawImage) -> str:
    """Say how an image is written: ``65x77x60 of 3x3x3.3 mm, RAS, float32``."""
    return _header_of(source if isinstance(source, RawImage) else read_raw(source)).description


def stated_stat(source: Path | RawImage) -> str:
    """Read off an image's header what its values are, see `fmnet.data.statistic.header_stat`."""
    return header_stat(
        _header_of(source if isinstance(source, RawImage) else read_raw(source)).fields
    )


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
    image = nib.Nifti1Image(data, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code="mni")
    image.set_qform(volume.affine, code="mni")
    nib.save(image, path)


def write_series(data: NDArray[Any], affine: Affine, t_r: float, path: Path) -> None:
    """Write a time series, shape (X, Y, Z, T), with its repetition time in seconds as NIfTI-1."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    nib.save(image, path)


def _values(image: SpatialImage, name: str) -> FloatArray:
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeError(
            Fault(
                name,
                f"values of type {image.get_data_dtype()}",
                "integers or real numbers",
                "write the map with one number per voxel",
            )
        )
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
    raise VolumeError(
        Fault(
            str(path),
            f"{len(header)} bytes that are no image header",
            ACCEPTED,
            "check that the file is what its name says",
        )
    )
