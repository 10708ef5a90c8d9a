"""Images are built of steps that `make images-check` runs; what they copy is there."""

import re
import shutil
import subprocess

import pytest
from command_fixtures import ROOT

FOLDER = ROOT / "containers"
RECIPES = sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".sh")


def copied(name):
    """List what a recipe takes from the checkout."""
    text = (FOLDER / name).read_text()
    if name.endswith(".def"):
        section = text.split("%files\n")[1].split("\n%")[0]
        return [line.split()[0] for line in section.splitlines() if line.strip()]
    lines = re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
    return [word for line in lines for word in line.split()[:-1]]


def test_there_is_one_of_each_kind():
    kinds = {f"{kind}.{form}" for kind in ("predict", "train") for form in ("Dockerfile", "def")}
    assert set(RECIPES) == kinds


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_copies_what_there_is_and_docker_may_see(name):
    seen = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copied(name):
        assert (ROOT / source).exists(), source
        assert f"!{source.split('/')[0]}" in seen, source


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_runs_the_steps_that_are_checked(name):
    text, kind = (FOLDER / name).read_text(), name.split(".")[0]
    assert f"wheels.sh /wheels {kind}" in text
    assert f"install.sh /wheels /opt/fmnet {kind}" in text
    check = (FOLDER / "check.sh").read_text()
    assert "containers/wheels.sh" in check
    assert "containers/install.sh" in check


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_step_is_a_program_for_the_plainest_shell(path):
    shell = shutil.which("dash") or shutil.which("sh")
    subprocess.run([shell, "-n", path], check=True)
