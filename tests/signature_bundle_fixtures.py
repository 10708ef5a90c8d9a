"""Put a signature into a copy of a bundle, as an export does from a run that found one."""

import json
from pathlib import Path

import numpy as np

from fmnet.data.nifti import write_volume
from fmnet.data.signature_map import SignatureMap
from fmnet.data.volume import Volume
from fmnet.inference.bundle import Bundle, read_bundle
from fmnet.inference.bundle_files import SIGNATURE, write_hashes
from fmnet.inference.signature_files import REGIONS, coordinate_boxes, world_points
from fmnet.inference.study_people import region_reference, write_people

#: Half the people of each group.
N_PEOPLE = 12
STABLE = {"is_stable": True, "words": "checks passed: the model is above chance", "failed": []}
UNSTABLE = {
    "is_stable": False,
    "words": "no stable signature: it did not hold that disjoint halves of the cohort agree",
    "failed": ["halves"],
}


def planted_weights(grid, n_contrasts=1, centre=(-30.0, -20.0, 40.0), width_mm=20.0):
    """Weights of one blob: (C, V)."""
    distance = np.linalg.norm(world_points(grid) - centre, axis=1)
    blob = np.exp(-0.5 * (distance / width_mm) ** 2) / 100
    return np.tile(blob.astype(np.float32), (n_contrasts, 1))


def add_signature(
    folder: Path,
    weights=None,
    intercept: float = 0.25,
    facts=STABLE,
    effects=None,
    names=None,
    edge_mm: float = 48.0,
) -> Bundle:
    """Write ``signature/`` into a bundle, and what its metadata say of it; give it, read again."""
    bundle = read_bundle(folder)
    preparation, own = bundle.preparation, folder / SIGNATURE
    grid, contrasts = preparation.grid, preparation.contrasts
    own.mkdir()
    if facts["is_stable"]:
        if weights is not None:
            SignatureMap(
                weights, grid, contrasts, "weights", "score per unit of the map",
                "positive: more like FM", "linear SVM", "final", 24,
                {"Intercept": intercept, "LinearFractionOfScore": 1.0},
            ).write(own)  # fmt: skip
        numbers, boxes = coordinate_boxes(grid, edge_mm)
        image = grid.unmask(numbers.astype(np.float32))
        write_volume(Volume(image[None], grid.affine, grid.space), own / REGIONS)
        rng, labels = np.random.default_rng(3), np.arange(2 * N_PEOPLE) % 2
        if effects is None:
            effects = rng.normal(0, 0.1, (len(labels), len(boxes))) + 0.05 * labels[:, None]
        scores = rng.normal(0, 0.8, len(labels)) + labels - 0.5
        people = region_reference(effects, labels, list(boxes), names or boxes, scores)
        write_people(people, own)
    (own / "signature.json").write_text(json.dumps({"is_drawn": facts["is_stable"]}))
    files = sorted(f"{SIGNATURE}/{path.name}" for path in own.iterdir())
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["signature"] = facts | {"files": files}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    write_hashes(folder)
    return read_bundle(folder)
