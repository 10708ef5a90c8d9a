"""What all figures of the report share: colours, names as they are written, SVG that repeats."""

import base64
import io
import warnings
from collections.abc import Callable
from functools import wraps
from textwrap import fill
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

POSITIVE, NEGATIVE, GREY, DARK = "#b2405a", "#31688e", "#777777", "#333333"
#: Of curves: two models, their rival, and a few further networks.
CURVES = (POSITIVE, NEGATIVE, GREY, "#c98a1b", "#4f8a5b", "#8a5fa8")
#: Names are drawn as they are written: a dollar sign starts no formula. Letters stay letters, which
#: whoever edits a figure can change, and the same figure is the same file.
PLAIN: Any = {
    "text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False,
    "svg.fonttype": "none", "svg.hashsalt": "fmnet",
}  # fmt: skip
#: Characters of a name that there is room for.
ROOM = 40
#: Inches: a figure that stands beside another, and one that stands alone.
HALF, WHOLE = 5.2, 9.0


#: What functions that draw return: the figure, what is to be seen in it, and a name for its file.
Drawn = tuple[Figure, str, str]


class Picture(NamedTuple):
    """A figure with the text that stands in for it.

    `image` is SVG or PNG, `alt` says what is to be seen in it, and `name` is that of the file which
    it is kept as, without its ending.
    """

    image: bytes
    alt: str
    name: str

    @property
    def uri(self) -> str:
        """The image as an address that holds all of it."""
        kind = "png" if self.image.startswith(b"\x89PNG") else "svg+xml"
        return f"data:image/{kind};base64,{base64.b64encode(self.image).decode()}"


def drawn_as(
    write: Callable[[Figure], bytes],
) -> Callable[[Callable[..., Drawn]], Callable[..., Picture]]:
    """Draw with names as they are written; a figure that fails costs nothing but itself."""

    def decorate(draw: Callable[..., Drawn]) -> Callable[..., Picture]:
        @wraps(draw)
        def drawn(*given: Any, **named: Any) -> Picture:
            with rc_context(PLAIN), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
                try:
                    figure, alt, name = draw(*given, **named)
                    return Picture(write(figure), alt, name)
                except Exception as error:  # noqa: BLE001 (whatever it is, the results are worth more)
                    reason = f"This figure could not be drawn ({type(error).__name__}: {error})."
            warnings.warn(reason, stacklevel=2)
            with rc_context(PLAIN):
                figure, alt = Figure(figsize=(HALF, 2.6)), plain(reason, 400)
                figure.text(0.5, 0.5, fill(alt, 60), ha="center", va="center", color=GREY)
                return Picture(write(figure), alt, "not_drawn")

        return drawn

    return decorate


def plain(name: str, room: int = ROOM) -> str:
    """Write a name in the room that there is, without what has no glyph."""
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())
    return shown if len(shown) <= room else f"{shown[: room - 3]}..."


def one_panel(draw: Callable[[Axes], None], height: float = 3.8, width: float = HALF) -> Figure:
    """Draw a figure of a single panel, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure.subplots())
    return figure


def draw_unit_square(axes: Axes) -> None:
    """Draw both axes from 0 to 1, with the diagonal."""
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1)
    axes.set_aspect("equal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.spines[["top", "right"]].set_visible(False)


def with_legend_below(figure: Figure) -> Figure:
    """Put the legend of a figure's only panel below it, where it covers no curve."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    columns = 2 if max(map(len, names), default=0) <= ROOM * 3 // 4 else 1
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    return figure


def as_svg(figure: Figure) -> bytes:
    """Write a figure as SVG without date or maker, so that the same one is the same file."""
    target = io.BytesIO()
    figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator")))
    return target.getvalue()


def as_png(figure: Figure) -> bytes:
    """Write a figure as PNG, at 150 dots per inch."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=150, metadata={"Software": None})
    return target.getvalue()
