"""Maps of a signature on a coarse grid, and what a study says of it."""

import numpy as np

from fmnet.data.signature_map import SignatureMap
from fmnet.data.template import build_grid

CONTRASTS = ("pressure", "visual")


def grid_of_12_mm():
    return build_grid(12)


def build_map(values=None, description="pattern", contrasts=CONTRASTS, units="z", seed=0):
    """A map of noise, or of the values given, (C, V)."""
    grid = grid_of_12_mm()
    if values is None:
        values = np.random.default_rng(seed).normal(size=(len(contrasts), grid.n_voxels))
    return SignatureMap(
        values=np.asarray(values, np.float32),
        grid=grid,
        contrasts=contrasts,
        description=description,
        units=units,
        sign="positive: more",
        model="linear SVM",
        source="final",
        n_subjects=30,
    )


def left_map(**given):
    """Positive in the left of the brain, where x is below -20 mm, and 0 elsewhere."""
    grid = grid_of_12_mm()
    x = grid.affine[0, 3] + grid.affine[0, 0] * np.argwhere(grid.mask)[:, 0]
    return build_map(np.stack([np.where(x < -20, 3.0, 0.0)] * len(CONTRASTS)), **given)


def check(name, passed, observed=None, null=None, p=None, ci=None, reason=""):
    """A check as facts hold it."""
    outcome = "not examined" if passed is None else "passed" if passed else "failed"
    return {
        "name": name, "passed": passed, "outcome": outcome, "observed": observed, "null": null,
        "p": p, "ci": ci, "reason": reason,
    }  # fmt: skip


def study_facts(is_stable=True, is_forced=False):
    """What a study says of a signature, as ``metrics.json`` holds it."""
    agreed = {"observed": 0.31 if is_stable else 0.02, "null": [-0.1, 0.0, 0.1],
              "p": 0.01 if is_stable else 0.4}  # fmt: skip
    above = (0.74, 0.5, 0.01, [0.6, 0.85]) if is_stable else (0.52, 0.5, 0.41, [0.4, 0.64])
    return {
        "title": "linear SVM",
        "is_drawn": is_stable or is_forced,
        "is_forced": is_forced,
        "checks": {
            "above_chance": check("above_chance", is_stable, *above),
            "halves": check("halves", is_stable, agreed["observed"], 0.0, agreed["p"]),
            "model_randomisation": check("model_randomisation", None, reason="it has none"),
        },
        "halves": {
            "n_splits": 10, "n_per_half": [14, 15], "null_from": "labels", "voxel_r": agreed,
            "dice": agreed,
        },
        "folds": {"folds": {"voxel_r": 0.8, "dice": 0.5, "n_maps": 5}, "repeats": None},
        "z": {
            "threshold": "fwe", "threshold_fwe": 4.81, "cluster_z": 3.0, "n_permutations": 200,
            "n_voxels": {"fwe": 7, "cluster": 12, "fdr": 9},
        },
        "linear_fraction": 1.0,
        "clusters": [
            {"contrast": "pressure", "direction": "more in FM", "peak": 5.125, "x_mm": -38.0,
             "y_mm": 12.0, "z_mm": 20.0, "n_voxels": 7, "size_mm3": 12096.0, "p": 0.005,
             "region": "left, front, mid-height; -38 12 20", "regions": ""},
        ],
        "regions": [
            {"contrast": "pressure", "label": k, "region": f"region {k}", "x_mm": 0.0, "y_mm": 0.0,
             "z_mm": 0.0, "n_voxels": 9, "mean": 0.25, "direction": "more in FM", "share": share}
            for k, share in enumerate((0.4, 0.0), start=1)
        ],
    }  # fmt: skip
