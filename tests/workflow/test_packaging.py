"""What is installed beside the code."""

import tomllib

from command_fixtures import ROOT


def test_every_file_that_the_code_reads_is_installed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {
        path.relative_to(ROOT).as_posix()
        for package, names in packages["package-data"].items()
        for name in names
        for path in (ROOT / package.replace(".", "/")).glob(name)
    }
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fmnet").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert found == listed
