"""What is drawn of a model's outputs, by the kind of target, from its details."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Panel:
    """One plot: what draws it, the text that stands in for it, and a name for its file.

    ``height`` is in inches, of a figure of its own.
    """

    draw: Callable[[Axes], None]
    alt: str
    name: str
    height: float = 3.8
