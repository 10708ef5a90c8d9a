"""Completion, as asked for and as bash shows it."""

import shutil
import subprocess
import sys

import pytest

from fmnet.command.completion import SCRIPT, complete
from fmnet.command.main import COMMANDS

NAMES = {name: where for name, (where, _) in COMMANDS.items()}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("fmnet tr", ["train"]),
        ("fmnet make-b", ["make-bold-cohort"]),
        ("fmnet --ver", ["--version"]),
        ("fmnet nothing se", []),
        ("fmnet train --conf", ["--config-dir"]),
        ("fmnet train --config-dir ", []),
        ("fmnet train experiment=qu", ["experiment=quick"]),
        ("fmnet train cohort=bids cohort.ro", ["cohort.root="]),
        ("fmnet train folds.n_", ["folds.n_repeats=", "folds.n_splits="]),
        ("fmnet train cohor", ["cohort.", "cohort="]),
        ("fmnet train suit", []),
        ("fmnet train backb", []),
        ("fmnet export ov", ["overwrite="]),
        ("fmnet predict --cards", ["--cards"]),
        ("fmnet predict scan", []),
        ("fmnet make-cohort --n-su", ["--n-subjects"]),
    ],
)
def test_words_that_a_line_can_go_on_with(line, wanted):
    assert sorted(complete(line, NAMES)) == wanted


def test_every_key_of_a_command_is_offered():
    offered = complete("fmnet export ", NAMES)
    assert {"run_dir=", "out=", "model="} <= set(offered)


def test_options_of_ones_own_folder(tmp_path):
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "ours.yaml").write_text("defaults: [table]\n")
    line = f"fmnet train --config-dir {tmp_path} cohort=ou"
    assert complete(line, NAMES) == ["cohort=ours"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "words", "wanted"),
    [
        ("fmnet exp", ["fmnet", "exp"], ["export", "explain"]),
        ("fmnet train experiment=qu", ["fmnet", "train", "experiment", "=", "qu"], ["quick"]),
        ("fmnet train folds.n_s", ["fmnet", "train", "folds.n_s"], ["folds.n_splits="]),
    ],
)
def test_bash_completes(tmp_path, line, words, wanted):
    program = tmp_path / "fmnet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fmnet "$@"\n')
    program.chmod(0o755)
    listed = " ".join(f"'{word}'" for word in words)
    script = f"""{SCRIPT}
COMP_WORDS=({listed}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
COMP_WORDS[0]={program}
_fmnet
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p fmnet >&2"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == wanted, done.stderr
    assert "-F _fmnet fmnet" in done.stderr
