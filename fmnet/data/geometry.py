"""Where a NIfTI header says that voxels lie: its unit of length, its two forms, their size."""

from typing import Any

import numpy as np

from fmnet.data.volume import Affine, check_affine
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


def read_geometry(fields: Any, shape: tuple[int, ...], name: str) -> tuple[Affine, int, str]:
    """Read where the voxels of a NIfTI image lie, in mm whatever the header's unit.

    Where sform and qform are both set, the one whose code names the more specific space holds: MNI
    over Talairach over aligned over scanner. With one code for both they have to agree.

    Parameters
    ----------
    fields : mapping
        Fields of the header, as nibabel names them.
    shape : tuple of int
        Voxels along x, y and z, and what follows.
    name : str
        For messages.

    Returns
    -------
    affine : ndarray, shape (4, 4)
        From voxel index to mm.
    code : int
        Of the form that it comes from.
    note : str
        What a reader of the results should know; empty if nothing.

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

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        From voxel index to mm.
    shape : tuple of int
        Voxels along x, y and z, and what follows.
    name : str
        For messages.
    unit : str
        The header's unit of length; empty if it states none.
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
    raise VolumeError(
        Fault(
            name,
            f"voxels of {each} mm, in all {whole} mm ({stated})",
            f"voxel edges of {SHORTEST_EDGE:g} mm and more, and a longest side from "
            f"{SHORTEST_LONGEST_SIDE:g} to {LONGEST_SIDE:g} mm",
            "correct the unit (xyzt_units), the affine or the dimensions in the header",
        )
    )


def _check_codes(codes: dict[str, int], name: str) -> None:
    if not any(codes.values()):
        raise VolumeError(
            Fault(
                name,
                "no stated orientation (qform_code and sform_code are 0)",
                "a NIfTI header with one of the two set",
                "write the header again with the software that made the map; left and right "
                "can't be told apart without it",
            )
        )
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
