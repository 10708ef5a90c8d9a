"""A small page about a fitted classifier, as nilearn's estimators give one."""

import html
from pathlib import Path
from typing import Any

import numpy as np

from fmnet.data.signature_map import SignatureMap
from fmnet.report.brain import draw_slices
from fmnet.report.map_words import SignWords

#: Of the sizes of weights, from which quantile on they are drawn.
SHOWN_FROM = 0.95
STYLE = "body{font-family:system-ui,sans-serif;max-width:52rem;margin:auto;padding:1rem 2rem}"
STYLE += "body{line-height:1.5}img{max-width:100%}dt{font-weight:600}"


class Page:
    """An HTML page that notebooks show and that can be saved.

    Parameters
    ----------
    title, body : str
        What it is about, and HTML.
    """

    def __init__(self, title: str, body: str) -> None:
        self.title, self.body = title, body

    @classmethod
    def of_classifier(cls, model: Any, title: str) -> "Page":
        """Describe a fitted `fmnet.SignatureClassifier`."""
        negative, positive = map(str, model.classes_)
        counts = model._about["counts"]
        people = ", ".join(f"{n} {name}" for name, n in counts.items())
        facts = {
            "Network": model._title,
            "Learned from": f"{sum(counts.values())} scans of {model._about['n_people']} people "
            f"({people})",
            "Contrasts": ", ".join(model._contrasts),
            "Voxels": f"{model.preparation_.grid.n_voxels} of "
            f"{model.preparation_.grid.voxel_size_mm[0]:g} mm",
            "Training": f"{model.n_epochs_} epochs" if model.n_epochs_ else "no gradient step",
            "Weights": model.weights_kind_,
        }
        listed = "".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
            for name, text in facts.items()
        )
        warning = (
            "This page says what was fitted, not how well it works on other people: "
            "cross_val_score or fmnet.study say that. Research use only; a score is no diagnosis."
        )
        pictures = "".join(
            _pictures(model, SignWords(f"speaks for {positive}", f"speaks for {negative}"))
        )
        body = f"<h1>{html.escape(title)}</h1><p><strong>{warning}</strong></p><dl>{listed}</dl>"
        return cls(title, body + pictures)

    def get_standalone(self) -> str:
        """Give the whole page, as HTML."""
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style></head>"
            f"<body>{self.body}</body></html>"
        )

    def save_as_html(self, path: str | Path) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.get_standalone(), "utf-8")

    def _repr_html_(self) -> str:
        return self.body  # which has the look of the notebook


def _pictures(model: Any, words: SignWords) -> list[str]:
    grid = model.preparation_.grid
    volume = np.asarray(model.weights_img_.dataobj, np.float32)
    volumes = volume[..., None] if volume.ndim == 3 else volume
    values = np.moveaxis(volumes, -1, 0)[:, grid.mask]
    shown = SignatureMap(
        values=values,
        grid=grid,
        contrasts=tuple(model._contrasts),
        description="weights",
        units="score per unit of the map",
        sign=str(words),
        model=model._title,
        source="final",
        n_subjects=model._about["n_people"],
    )
    found = []
    for contrast, weights in zip(shown.contrasts, values, strict=True):
        least = float(np.quantile(np.abs(weights), SHOWN_FROM))
        said = f"the {1 - SHOWN_FROM:.0%} of voxels that weigh most, whether by chance or not"
        given = (shown, contrast, least, f"Weights of {contrast}", words, said)
        drawn = draw_slices(*given, across="not tested")
        found.append(f'<img alt="{html.escape(drawn.alt)}" src="{drawn.uri}">')
    return found
