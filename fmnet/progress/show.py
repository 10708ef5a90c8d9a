"""Show how far long work is: nested bars on a terminal, whole lines in a log.

Steps that begin within a step are shown below it, and count as the part of it that they stand for::

    with step("folds", len(folds), "fold") as advance:
        for fold in folds:
            with step("training", n_epochs, "epoch") as on_epoch:
                ...
            advance()

`studying` puts all stages of a study below one bar, with the time that is left of the whole. Only
the process that a user started shows anything: workers would write over each other's lines.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import parent_process
from typing import Any, TextIO, TypeVar

from fmnet.errors import printable
from fmnet.progress.steps import Step, Study, say_time

Item = TypeVar("Item")
#: Seconds between lines in a log, of work that isn't a stage of a study.
LINE_EACH = 30.0
#: Name of the outermost step of a study.
STUDY = "study"


class _Display:
    """Where steps are shown, each given as the chain from the outermost to itself."""

    def opened(self, steps: list[Step]) -> None:
        """Show a step that begins."""

    def advanced(self, steps: list[Step]) -> None:
        """Show how far it is."""

    def closed(self, steps: list[Step]) -> None:
        """Show that it is done."""

    def removed(self, steps: list[Step]) -> None:
        """Forget these, which are over, done or not."""

    def write(self, line: str) -> None:
        """Write a line of text."""

    def end(self) -> None:
        """Give the terminal back."""


#: Steps that are going on, from the outermost to the innermost, and where they are shown.
_steps: list[Step] = []
_displays: list[_Display] = []


@contextmanager
def step(
    title: str, total: float, unit: str = "", done: float = 0, covers: float = 1
) -> Iterator[Callable[..., None]]:
    """Show a step of the work for as long as the block lasts.

    Parameters
    ----------
    title : str
        What is done; nothing is shown if it is empty.
    total, done : float
        How many units there are, and how many of them are done already.
    unit : str
        What a unit is, in the singular, unless the title says it.
    covers : float
        How many units of the step around it it stands for.

    Yields
    ------
    callable
        ``advance(n=1, note="")``: note that `n` more units are done, and what a log says of it.
    """
    is_own = parent_process() is None and threading.current_thread() is threading.main_thread()
    if not title or not is_own:
        yield _show_nothing
        return
    with _going_on(Step(printable(title), total, unit, done, covers)) as advance:
        yield advance


def _show_nothing(n: float = 1, note: str = "") -> None:
    """Stand for the steps that nobody sees."""


def track(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Go through items, and show how many are done; nothing is shown of none."""
    with step(title if total else "", total) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def studying(costs: Mapping[str, float], shown: bool = True) -> Iterator[None]:
    """Show the steps of the block as stages of one study, with the time that is left of it.

    Parameters
    ----------
    costs : dict
        By the title of its step, in their order, how much work a stage is, in any unit.
    shown : bool
        Whether this process is the one that shows it.
    """
    costs = {title: cost for title, cost in costs.items() if cost > 0}
    if not shown or parent_process() is not None or _steps:
        yield
        return
    with _going_on(Study(STUDY, sum(costs.values()), costs=costs)):
        yield


@contextmanager
def paused() -> Iterator[None]:
    """Leave the terminal to others, as bars of Lightning's, within the block."""
    display = _displays[0] if _displays else None
    if not isinstance(display, _RichBars):
        yield
        return
    display.progress.stop()
    try:
        yield
    finally:
        display.progress.start()


def say(line: str) -> None:
    """Write a line to the terminal or log, above the bars if there are any."""
    display = _displays[0] if _displays else _Lines()
    display.write(printable(line))


@contextmanager
def _going_on(own: Step) -> Iterator[Callable[..., None]]:
    if not _displays:
        _displays.append(_choose_display())
    display = _displays[0]
    if _steps:
        _steps[-1].opens(own)
    _steps.append(own)
    display.opened(_steps)

    def advance(n: float = 1, note: str = "") -> None:
        own.done, own.note = own.done + n, note
        display.advanced(_steps)

    is_whole = False
    try:
        yield advance
        is_whole = True
    finally:
        if is_whole:
            display.closed(_steps)
        if own in _steps:  # else one around it has failed, and took it along
            at = _steps.index(own)
            display.removed(_steps[at:])
            del _steps[at:]
            if _steps:
                _steps[-1].closes(own, is_whole)
            else:
                display.end()
                _displays.clear()


def moves_bars(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal on which a bar can move."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _choose_display() -> _Display:
    """Choose bars for a terminal, with what is installed, and lines for anything else."""
    if not moves_bars(sys.stderr):
        return _Lines()
    return _RichBars() if find_spec("rich") else _TqdmBar()


class _Lines(_Display):
    """Whole lines with the time, a few of them: as stages of a study end, and now and then."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def advanced(self, steps: list[Step]) -> None:
        """Say how far all steps are, if nothing was said for a while."""
        own = steps[-1]
        is_told_next = self._is_stage(steps) and own.done >= own.total
        if time.monotonic() - self.told < LINE_EACH or is_told_next:
            return
        *around, inner = [one for one in steps if not isinstance(one, Study)]
        parts = [f"{one.title}: {one.count}" for one in (*around, inner)]
        text = ", ".join(parts) + (inner.note and f" ({inner.note})")
        self._say(f"{text}; {_rest(steps[0])}")

    def closed(self, steps: list[Step]) -> None:
        """Say how long a stage of a study took."""
        own = steps[-1]
        if self._is_stage(steps):
            self._say(f"{own.title}: {own.count} in {say_time(own.seconds)}; {_rest(steps[0])}")
        elif isinstance(own, Study):
            self._say(f"{own.title}: done in {say_time(own.seconds)}")

    def _is_stage(self, steps: list[Step]) -> bool:
        return len(steps) == 2 and isinstance(steps[0], Study)

    def _say(self, line: str) -> None:
        self.told = time.monotonic()
        self.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")

    def write(self, line: str) -> None:
        """Write a line in one piece, so that processes that share a log don't mix theirs."""
        if sys.stderr is not None:
            with suppress(OSError, ValueError):  # nobody reads it any more
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()


class _RichBars(_Display):
    """A bar for each step, nested, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
        from rich.text import Text

        class Told(ProgressColumn):
            """What is said of a step behind its bar."""

            max_refresh = 0.5

            def render(self, task: Task) -> Text:
                own = task.fields["step"]
                return Text(f"{say_time(own.seconds)}, {_left(own)}", style="dim")

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[count]}"),
            Told(),
            console=Console(file=sys.stderr),
            redirect_stdout=sys.stdout.isatty(),  # tables go to the file or pipe that they are for
            transient=True,
        )
        self.tasks: dict[int, Any] = {}
        self.progress.start()

    def opened(self, steps: list[Step]) -> None:
        """Add a bar below the others."""
        from rich.markup import escape

        own = steps[-1]
        title = "  " * (len(steps) - 1) + escape(own.title)
        task = self.progress.add_task(title, total=1.0, step=own, count=own.count)
        self.tasks[id(own)] = task
        self.advanced(steps)

    def advanced(self, steps: list[Step]) -> None:
        """Move the bars of a step and of all around it."""
        for one in steps:
            task = self.tasks[id(one)]
            self.progress.update(task, completed=one.fraction, count=one.count)

    def removed(self, steps: list[Step]) -> None:
        """Take bars away."""
        for one in steps:
            self.progress.remove_task(self.tasks.pop(id(one)))

    def write(self, line: str) -> None:
        """Write a line above the bars."""
        self.progress.console.print(line, markup=False, highlight=False)

    def end(self) -> None:
        """Give the terminal back."""
        self.progress.stop()


class _TqdmBar(_Display):
    """One bar, of the outermost step, where rich isn't installed."""

    def __init__(self) -> None:
        self.bar: Any = None

    def opened(self, steps: list[Step]) -> None:
        """Show the outermost step."""
        if len(steps) == 1:
            from tqdm import tqdm

            own = steps[0]
            given = {"total": own.total, "initial": own.first, "unit": own.unit or "it"}
            self.bar = tqdm(**given, desc=own.title, file=sys.stderr, leave=False)

    def advanced(self, steps: list[Step]) -> None:
        """Move the bar."""
        self.bar.update(steps[0].done - self.bar.n)

    def write(self, line: str) -> None:
        """Write a line above the bar."""
        self.bar.write(line, sys.stderr)

    def end(self) -> None:
        """Take the bar away."""
        self.bar.close()


def _left(own: Step) -> str:
    """Say how long a step still takes."""
    left = own.seconds_left
    return "time left not known yet" if left is None else f"about {say_time(left)} left"


def _rest(own: Step) -> str:
    """Say how long a step still takes; of a study, how much of it is done as well."""
    if not isinstance(own, Study):
        return _left(own)
    return f"{own.title} {own.count}" + (f", {_left(own)}" if own.fraction < 1 else "")
