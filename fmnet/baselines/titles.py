"""What the models of the shipped configurations are, and what they are called for people."""

from fmnet.types import ModelKind

#: By name: kind and title.
KNOWN: dict[str, tuple[ModelKind, str]] = {
    "dummy": ("chance", "dummy"),
    "linear_svm": ("linear", "linear SVM"),
    "logistic_ridge": ("linear", "logistic ridge"),
    "shrinkage_lda": ("linear", "shrinkage LDA"),
    "frem": ("linear", "FREM"),
    "space_net": ("linear", "SpaceNet"),
    "covariates": ("shortcut", "covariates only"),
    "motion": ("shortcut", "motion only"),
    "questionnaires": ("symptoms", "questionnaires only"),
    "file_grid": ("shortcut", "file grid only"),
    "coverage": ("shortcut", "coverage only"),
    "scale": ("shortcut", "image scale only"),
    "roughness": ("shortcut", "roughness only"),
    "temporal_snr": ("shortcut", "temporal SNR only"),
    "connectivity_tangent": ("connectivity", "tangent connectivity"),
    "connectivity_correlation": ("connectivity", "correlation connectivity"),
    "connectivity_partial": ("connectivity", "partial-correlation connectivity"),
}


def kind_of(model: str) -> ModelKind:
    """Say what the model of that name is."""
    return KNOWN.get(model, ("other", ""))[0]


def title_of(model: str) -> str:
    """Name a model for people."""
    return KNOWN.get(model, ("other", model.replace("_", " ")))[1]
