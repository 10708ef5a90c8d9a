"""``MODEL_CARD.md``: a bundle described for people."""

from typing import Any

from fmnet.deploy.choice import optimism


def model_card(metadata: dict[str, Any]) -> str:
    """Describe a bundle for people, from its metadata."""
    training, wanted, choice = metadata["training"], metadata["input"], metadata["choice"]
    marks = [training.get("control", "")]
    if training["origin"] == "synthetic":
        marks.append("Trained on synthetic data: for demonstration only.")
    voxel = " x ".join(f"{edge:g}" for edge in wanted["voxel_size_mm"])
    return (
        f"# Signature: {training['positive']} against {training['negative']}\n\n"
        + "".join(f"**{mark}**\n\n" for mark in marks if mark)
        + f"## Intended use\n\n{metadata['intended_use']}\n\n"
        f"## Input\n\nOne map per contrast ({', '.join(wanted['contrasts'])}), statistic "
        f"{wanted['stat']}, in {wanted['space']} space; any grid, put on {voxel} mm voxels and "
        f"smoothed by {wanted['fwhm_mm']:g} mm.\n\n"
        f"## Model\n\nA {training['title']}, exported because {choice['why']}.\n\n"
        f"## Training\n\n{training['n_scans']} scans of {training['n_subjects']} people.\n\n"
        + _figures(training, optimism(choice["n_models"]))
        + f"Made with fmnet {metadata['versions']['fmnet']}, format "
        f"{metadata['format_version']}. Check the files with `sha256sum -c SHA256SUMS`.\n"
    )


def _figures(training: dict[str, Any], remark: str) -> str:
    """Say what this model reached, and tabulate it beside the others."""
    models, own = training["crossvalidation"], training["model"]
    said = f"Out of fold the {training['title']} reaches AUC {_auc(models[own])}. {remark}".rstrip()
    rows = [
        f"| {name}{' (this model)' if name == own else ''} | {_auc(figures)} | "
        f"{figures['balanced_accuracy']:.2f} |\n"
        for name, figures in models.items()
    ]
    return (
        f"{said}\n\nAll models in the same folds (AUC with its 95 % interval over subjects):\n\n"
        "| model | AUC | balanced accuracy |\n|---|---|---|\n" + "".join(rows) + "\n"
    )


def _auc(figures: dict[str, Any]) -> str:
    low, high = figures["auc_ci"]
    return f"{figures['auc']:.2f} [{low:.2f}, {high:.2f}]"
