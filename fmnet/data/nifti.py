"""Images on disk: reading to and writing from `Volume`. The only importer of nibabel."""

import io
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from fmnet.data.image_files import (
    ACCEPTED,
    RawImage,
    damaged,
    image_files,
    read_file,
    read_whole,
    unpack,
    unpack_start,
)
from fmnet.data.map_values import blank_background
from fmnet.data.statistic import header_stat
from fmnet.data.volume import SPACES, Affine, FloatArray, Volume, check_affine, check_space
from fmnet.errors import Fault, VolumeError

ANALYZE_NOTE = "Analyze file states no handedness; read as SPM does, x stored from right to left"


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
    stat = header_stat(image.header)
    return Volume(values, np.asarray(ras.affine, dtype=float), space, name, stat)


def load_image(source: Path | RawImage) -> SpatialImage:
    """Load an image and check that its header and handedness can be trusted."""
    raw = source if isinstance(source, RawImage) else read_whole(source)
    path = raw.path
    contents = {role: unpack(file, content) for role, (file, content) in raw.parts.items()}
    image_class = _sniff(contents.get("header", contents["image"]), "header" in contents, path)
    file_map = {
        role: nib.FileHolder(fileobj=io.BytesIO(content)) for role, content in contents.items()
    }
    # SPM's Analyze class wants its third file, and takes an empty one for none.
    file_map.setdefault("mat", nib.FileHolder(fileobj=io.BytesIO()))
    try:
        # what nibabel says about a doubtful header on the way comes as a fault below, or not at all
        with LoggingOutputSuppressor():
            image: SpatialImage = image_class.from_file_map(file_map)
    except Exception as error:  # nibabel raises a different type for each way to be damaged
        raise damaged(path, error) from error
    _check_orientation(image.header, path)
    return image


def read_header(start: bytes, path: Path) -> Any:
    """Read nibabel's header of a single NIfTI file from its first bytes, and check that it holds.

    Parameters
    ----------
    start : bytes
        The header at least, unpacked; less is a damaged file.
    path : Path
        For messages.

    Raises
    ------
    VolumeError
        If they are no header of NIfTI-1 or NIfTI-2, or one without usable orientation.
    """
    header_class = _sniff(start, False, path).header_class
    try:
        # without extensions, of which only the beginning may be here
        whole = io.BytesIO(start[: header_class.template_dtype.itemsize])
        with LoggingOutputSuppressor():
            header = header_class.from_fileobj(whole)
        header.get_slope_inter()
        check_affine(np.asarray(header.get_best_affine(), dtype=float), str(path))
    except VolumeError:
        raise
    except Exception as error:  # nibabel raises a different type for each way to be damaged
        raise damaged(path, error) from error
    _check_orientation(header, path)
    return header


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
    raw = source if isinstance(source, RawImage) else read_whole(source)
    start = unpack_start(*raw.parts.get("header", raw.parts["image"]))
    image_class = _sniff(start, "header" in raw.parts, raw.path)
    return describe_header(image_class.header_class.from_fileobj(io.BytesIO(start), check=False))


def stated_stat(source: Path | RawImage) -> str:
    """Read off an image's header what its values are, see `fmnet.data.statistic.header_stat`."""
    raw = source if isinstance(source, RawImage) else read_whole(source)
    start = unpack_start(*raw.parts.get("header", raw.parts["image"]))
    image_class = _sniff(start, "header" in raw.parts, raw.path)
    header_class = image_class.header_class
    alone = io.BytesIO(start[: header_class.template_dtype.itemsize])  # without extensions
    return header_stat(header_class.from_fileobj(alone, check=False))


def describe_header(header: Any) -> str:
    """Say the same of nibabel's header."""
    shape = "x".join(str(n) for n in header.get_data_shape()[:3])
    edges = "x".join(f"{edge:.4g}" for edge in header.get_zooms()[:3])
    axes = "".join(axis or "?" for axis in nib.aff2axcodes(header.get_best_affine()))
    return f"{shape} of {edges} mm, {axes}, {header.get_data_dtype().name}"


def notes_on(path: Path) -> str:
    """Say what a reader of the results should know about this file; empty if nothing."""
    files = image_files(path)
    if "header" not in files or "mat" in files:
        return ""
    start = unpack_start(files["header"], read_file(files["header"]))
    return "" if start[344:348] in {b"ni1\0", b"n+1\0"} else ANALYZE_NOTE


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
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # a short file surfaces as ValueError, OSError or EOFError
        raise damaged(Path(name), error) from error
    is_whole = image.get_data_dtype().kind in "iu"
    step = abs(float(getattr(image.dataobj, "slope", 1.0))) if is_whole else 0.0
    return blank_background(values, step / 2)


def _sniff(header: bytes, is_pair: bool, path: Path) -> Any:
    """Pick the image class from the header's size and magic, as both byte orders write them."""
    size = {header[:4], header[:4][::-1]}
    if struct.pack("<i", 540) in size and header[4:7] in {b"n+2", b"ni2"}:
        return nib.Nifti2Pair if is_pair else nib.Nifti2Image
    if struct.pack("<i", 348) in size:
        if header[344:347] in {b"n+1", b"ni1"}:
            return nib.Nifti1Pair if is_pair else nib.Nifti1Image
        if is_pair:
            return nib.Spm99AnalyzeImage
    raise VolumeError(
        Fault(
            str(path),
            f"{len(header)} bytes that are no image header",
            ACCEPTED,
            "check that the file is what its name says",
        )
    )


def _check_orientation(header: Any, path: Path) -> None:
    if "sform_code" not in header.keys():  # noqa: SIM118 (a nibabel header is no mapping)
        return
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if not sform and not qform:
        raise VolumeError(
            Fault(
                str(path),
                "no stated orientation (qform_code and sform_code are 0)",
                "a NIfTI header with one of the two set",
                "write the header again with the software that made the map; left and right "
                "can't be told apart without it",
            )
        )
    if sform and qform:
        try:
            forms = (header.get_sform(), header.get_qform())
        except ValueError as error:  # the quaternion is none
            raise damaged(path, error) from error
        turns = [np.linalg.det(form[:3, :3]) for form in forms]
        if turns[0] * turns[1] < 0:
            raise VolumeError(
                Fault(
                    str(path),
                    "sform and qform that swap left and right between them",
                    "one handedness",
                    "find out which is right and write the header again",
                )
            )
