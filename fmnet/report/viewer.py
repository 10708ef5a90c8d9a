"""Build a viewer of a map that is turned through by hand, as a page that asks nothing outside."""

import re
import warnings

from fmnet.data.signature_map import SignatureMap
from fmnet.errors import printable
from fmnet.report.brain import colors_of, drawn_above, image_of

#: Voxel size of the template behind the map, in mm: a coarse one keeps the page light.
VIEWER_MM = 3
#: What a browser may load for the viewer: what stands in it, and nothing else.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
STYLE = (
    "html,body{margin:0;background:#fff;font:14px system-ui,'DejaVu Sans',sans-serif;color:#333}"
    "canvas{max-width:100%}.hidden{display:none}p{margin:.3rem 0}"
)
#: The slices take the size that the page has when they are drawn, which may be none yet: each time
#: that it changes they are drawn again, by what the slider of the opacity does.
REDRAW = (
    '<script>(function(){var slider=document.getElementById("opacity-brain"),width=-1;'
    "function redraw(){var now=document.body.clientWidth;"
    "if(now&&now!==width&&slider.oninput){width=now;slider.oninput();}}"
    'addEventListener("load",redraw);new ResizeObserver(redraw).observe(document.body);'
    "})();</script>"
)


def build_viewer(signature: SignatureMap, contrast: str, threshold: float) -> str:
    """Build nilearn's interactive viewer of a contrast as one HTML page that works offline.

    It is made for the ``srcdoc`` of a sandboxed ``iframe``: scripts, template and map stand in it,
    nilearn's outside icon is taken out, and its policy forbids a browser to load anything else.

    Returns
    -------
    str
        HTML of about 0.3 MB, the same for the same map.
    """
    from nilearn.datasets import load_mni152_template
    from nilearn.plotting import view_img

    image, largest = image_of(signature, contrast)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of masked arrays, inside nilearn
        view = view_img(
            image,
            bg_img=load_mni152_template(resolution=VIEWER_MM),
            threshold=drawn_above(threshold),
            vmax=largest,
            cmap=colors_of(largest, threshold),
            black_bg=False,
        )
    page = re.sub(r"<link\b[^>]*>", "", view.get_standalone())
    page = re.sub(r"(?<=-)[0-9a-f]{32}\b", "brain", page)  # a random name, in every identifier
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style>'
    page = page.replace("<head>", f"<head>{head}", 1)
    page = page.replace("</body>", f"{REDRAW}</body>", 1)
    return "\n".join(printable(line) for line in page.replace("\t", " ").split("\n"))
