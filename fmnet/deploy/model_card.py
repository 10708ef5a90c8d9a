"""``MODEL_CARD.md``: a bundle described for people."""

from typing import Any


def model_card(metadata: dict[str, Any]) -> str:
    """Describe a bundle for people, from its metadata."""
    training, wanted = metadata["training"], metadata["input"]
    marks = [training.get("control", "")]
    if training["origin"] == "synthetic":
        marks.append("Trained on synthetic data: for demonstration only.")
    rows = [
        f"| {name} | {m['auc']:.2f} [{m['auc_ci'][0]:.2f}, {m['auc_ci'][1]:.2f}] | "
        f"{m['balanced_accuracy']:.2f} |"
        for name, m in training["crossvalidation"].items()
    ]
    voxel = " x ".join(f"{edge:g}" for edge in wanted["voxel_size_mm"])
    return (
        f"# Signature: {training['positive']} against {training['negative']}\n\n"
        + "".join(f"**{mark}**\n\n" for mark in marks if mark)
        + f"## Intended use\n\n{metadata['intended_use']}\n\n"
        f"## Input\n\nOne map per contrast ({', '.join(wanted['contrasts'])}), statistic "
        f"{wanted['stat']}, in {wanted['space']} space; any grid, put on {voxel} mm voxels and "
        f"smoothed by {wanted['fwhm_mm']:g} mm.\n\n"
        f"## Training\n\n{training['n_scans']} scans of {training['n_subjects']} people.\n\n"
        "Out of fold, in the same folds (AUC with its 95 % interval over subjects):\n\n"
        "| model | AUC | balanced accuracy |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"Made with fmnet {metadata['versions']['fmnet']}, format "
        f"{metadata['format_version']}. Check the files with `sha256sum -c SHA256SUMS`.\n"
    )
