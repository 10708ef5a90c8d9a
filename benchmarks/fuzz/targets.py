"""Everything that is fuzzed, by name."""

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzz.bundles import bundle_readers
from benchmarks.fuzz.headers import alter_header, header_readers
from benchmarks.fuzz.results import result_readers
from benchmarks.fuzz.tables import alter_table, table_readers
from benchmarks.fuzz.target import Alter, Reader, Target, alter_json

TARGETS: dict[str, tuple[Callable[[], list[Reader]], Alter]] = {
    "headers": (header_readers, alter_header),
    "tables": (table_readers, alter_table),
    "bundles": (lambda: [*bundle_readers(), *result_readers()], alter_json),
}


def build_target(name: str, folder: Path) -> Target:
    """Make a target whose files lie in a folder, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    readers, alter = TARGETS[name]
    return Target(readers(), alter, folder)
