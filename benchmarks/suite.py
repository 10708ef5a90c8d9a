"""What all benchmark suites have in common."""

from pathlib import Path
from typing import Protocol


class Suite(Protocol):
    """One question, asked of pipelines whose truth is known."""

    def run(self, out: Path) -> list[str]:
        """Write tables to `out`, go on where an earlier call was stopped, answer in words."""
        ...


def run_suite(suite: Suite, out: str) -> list[str]:
    """Run a suite; its answers end with the folder of its tables."""
    return [*suite.run(Path(out)), out]
