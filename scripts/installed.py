"""Say how to install what a script needs, where this Python lacks it; each script imports this."""

from __future__ import annotations

import sys
from types import TracebackType


def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, ModuleNotFoundError):
        sys.__excepthook__(kind, error, trace)
        return
    print(
        f"{sys.executable} lacks what fmnet needs ({error}): run `make install`, then "
        "`. .venv/bin/activate`, and call this again",
        file=sys.stderr,
    )


sys.excepthook = say
