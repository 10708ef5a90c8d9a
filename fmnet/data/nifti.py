"""Images on disk: reading to and writing from `Volume`. The only importer of nibabel."""

import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip, igzip_lib
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import SpatialImage

from fmnet.data.volume import FloatArray, Volume, check_affine, check_space
from fmnet.errors import Fault, VolumeError

ACCEPTED = "a 3-D NIfTI-1, NIfTI-2 or Analyze map (.nii, .nii.gz, .img/.hdr)"
SUFFIXES = (".nii", ".nii.gz", ".img", ".hdr", ".img.gz", ".hdr.gz")
#: What isal raises for a damaged file; its stub takes `IsalError` for an instance.
GZIP_ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    OSError,
    ValueError,
    struct.error,
    igzip_lib.IsalError,  # type: ignore[assignment]
)
#: NIfTI-2's header, the longest.
HEADER_BYTES = 540
ANALYZE_NOTE = "Analyze file states no handedness; read as SPM does, x stored from right to left"


@dataclass(frozen=True, eq=False)
class RawImage:
    """An image as it lies on disk, read once for all that is made from it.

    Parameters
    ----------
    path : Path
        As it was named.
    parts : dict
        Each of its files and what it holds, by role: ``image`` and, of a pair, ``header``, ``mat``.
    """

    path: Path
    parts: dict[str, tuple[Path, bytes]]

    @property
    def name(self) -> str:
        """Name of the file without its folder."""
        return self.path.name

    @property
    def sha256(self) -> str:
        """Hash of the files' bytes, one after the other."""
        digest = hashlib.sha256()
        for _, content in self.parts.values():
            digest.update(content)
        return digest.hexdigest()


def read_raw(path: Path) -> RawImage:
    """Read the file, or the two or three files, of an image.

    Raises
    ------
    VolumeError
        If one of them is missing or is a DataLad pointer, see `image_files`.
    OSError
        If one of them can't be read.
    """
    files = image_files(path)
    return RawImage(path, {role: (file, file.read_bytes()) for role, file in files.items()})


def read_volume(source: Path | RawImage, space: str) -> Volume:
    """Read one map, turned to RAS+.

    Parameters
    ----------
    source : Path or RawImage
        A NIfTI-1, NIfTI-2 or Analyze file, single or pair, compressed or not.
    space : str
        The space that the map is said to be in, see `fmnet.data.volume.MNI_SPACES`.

    Returns
    -------
    Volume
        One channel, shape (1, X, Y, Z), in the file's own units; no resampling has happened.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, not an image, not 3-D, or without usable geometry.
    """
    name = str(source.path if isinstance(source, RawImage) else source)
    check_space(space, name)
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
    return Volume(values, np.asarray(ras.affine, dtype=float), space, name)


def load_image(source: Path | RawImage) -> SpatialImage:
    """Load an image and check that its header and handedness can be trusted."""
    raw = source if isinstance(source, RawImage) else _read_whole(source)
    path = raw.path
    contents = {role: _unpack(file, content) for role, (file, content) in raw.parts.items()}
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
        raise _damaged(path, error) from error
    _check_orientation(image, path)
    return image


def image_files(path: Path) -> dict[str, Path]:
    """Name the file, or the two or three files, that make up the image at `path`.

    Raises
    ------
    VolumeError
        If one of them is missing, can't be opened or is a DataLad pointer.
    """
    stem, suffix = _split_suffix(path)
    if suffix.startswith(".nii"):
        files = {"image": path}
    else:
        gz = ".gz" if suffix.endswith(".gz") else ""
        files = {"image": Path(f"{stem}.img{gz}"), "header": Path(f"{stem}.hdr{gz}")}
        if (orientation := Path(f"{stem}.mat")).is_file():
            files["mat"] = orientation
    for file in files.values():
        _check_is_there(file)
    return files


def describe_grid(source: Path | RawImage) -> str:
    """Say how an image is written: ``65x77x60 of 3x3x3.3 mm, RAS, float32``."""
    raw = source if isinstance(source, RawImage) else _read_whole(source)
    start = _unpack_start(*raw.parts.get("header", raw.parts["image"]))
    image_class = _sniff(start, "header" in raw.parts, raw.path)
    header = image_class.header_class.from_fileobj(io.BytesIO(start), check=False)
    shape = "x".join(str(n) for n in header.get_data_shape()[:3])
    edges = "x".join(f"{edge:.4g}" for edge in header.get_zooms()[:3])
    axes = "".join(axis or "?" for axis in nib.aff2axcodes(header.get_best_affine()))
    return f"{shape} of {edges} mm, {axes}, {header.get_data_dtype().name}"


def notes_on(path: Path) -> str:
    """Say what a reader of the results should know about this file; empty if nothing."""
    files = image_files(path)
    if "header" not in files or "mat" in files:
        return ""
    start = _unpack_start(files["header"], _read_file(files["header"]))
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
        return np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # a short file surfaces as ValueError, OSError or EOFError
        raise _damaged(Path(name), error) from error


def _split_suffix(path: Path) -> tuple[str, str]:
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return str(path)[: -len(suffix)], suffix
    raise VolumeError(
        Fault(str(path), f"a file named '{path.name}'", ACCEPTED, "convert the map to NIfTI")
    )


def _check_is_there(path: Path) -> None:
    try:
        there = path.exists()
    except PermissionError as error:  # of a folder above
        raise _denied(path) from error
    if path.is_symlink() and not there and "annex" in str(path.readlink()):
        raise _pointer(path)
    if not there:
        raise VolumeError(
            Fault(str(path), "no such file", ACCEPTED, "correct the path or fetch the file")
        )
    if path.is_dir():
        raise VolumeError(Fault(str(path), "a folder", ACCEPTED, "give the file inside it"))


def _pointer(path: Path) -> VolumeError:
    return VolumeError(
        Fault(
            str(path),
            "a DataLad (git-annex) pointer without content",
            "the image itself",
            f"run 'datalad get {path.name}' in its folder",
        )
    )


def _denied(path: Path) -> VolumeError:
    return VolumeError(
        Fault(
            str(path),
            "a file that this account may not read",
            "a readable file",
            "ask its owner for read permission (chmod +r)",
        )
    )


def _read_whole(path: Path) -> RawImage:
    files = image_files(path)
    return RawImage(path, {role: (file, _read_file(file)) for role, file in files.items()})


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise _denied(path) from error
    except OSError as error:
        raise _damaged(path, error) from error


def _unpack(path: Path, raw: bytes) -> bytes:
    if len(raw) < 500 and b"/annex/objects/" in raw:
        raise _pointer(path)
    if not path.name.lower().endswith(".gz"):
        return raw
    try:
        return bytes(igzip.decompress(raw))
    except GZIP_ERRORS as error:
        raise _damaged(path, error) from error


def _unpack_start(path: Path, raw: bytes) -> bytes:
    """Unpack as much as the longest header takes."""
    file = io.BytesIO(raw)
    try:
        if not path.name.lower().endswith(".gz"):
            return file.read(HEADER_BYTES)
        with igzip.open(file) as unpacked:
            return bytes(unpacked.read(HEADER_BYTES))
    except GZIP_ERRORS as error:
        raise _damaged(path, error) from error


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


def _check_orientation(image: SpatialImage, path: Path) -> None:
    header = image.header
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
            forms = (image.get_sform(), image.get_qform())
        except ValueError as error:  # the quaternion is none
            raise _damaged(path, error) from error
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


def _damaged(path: Path, error: Exception) -> VolumeError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return VolumeError(
        Fault(
            str(path),
            f"a damaged or truncated file ({reason})",
            ACCEPTED,
            "fetch or write the file again",
        )
    )
