import subprocess
import sys
from pathlib import Path

import pytest

from fmnet.config.entry import show

SCRIPT = """
import sys
from pathlib import Path
from fmnet.config.entry import build, run_configured
from fmnet.config.primary import Primary
from fmnet.errors import CohortError, Fault

def read(path: str = "", fail: bool = False):
    if path == "locked":
        raise PermissionError(13, "Permission denied", "locked/maps.tsv")
    if fail:
        raise CohortError(Fault("sub-01", "nothing", "something", "look"))
    return path

def run(data, seed: int, text: str = ""): ...

def work(config, function):
    if config.seed == 13:
        raise OSError("no connection")
    assert function is run
    print("worked with", build(config)["data"], config.seed)

if __name__ == "__main__":
    primary = Primary("main", "__main__.run", passed=("text",))
    run_configured(work, primary, sys.argv[1:], Path(__file__).parent / "configs")
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "main.yaml").write_text(
        "data: {_target_: __main__.read, path: here, fail: false}\nseed: 0\n"
        "hydra: {output_subdir: null, run: {dir: .}, sweep: {dir: ., subdir: .}}\n"
    )
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def call(script: Path, *arguments: str):
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=script.parent, check=False)


def test_valid_configuration_is_worked_on(script):
    done = call(script, "seed=3")
    assert (done.returncode, done.stdout.strip()) == (0, "worked with here 3")


def test_faults_are_printed_without_a_traceback(script):
    done = call(script, "sed=3", "seed=x", "data.fail=perhaps")
    assert done.returncode == 2
    assert "3 faults" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_error_of_a_component_is_printed_as_it_was_raised(script):
    done = call(script, "data.fail=true")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "the cohort can't be used: sub-01: found nothing; accepted: something; to do: look."
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.path=locked", "fmnet can't go on: locked/maps.tsv: found Permission denied; "),
        ("seed=13", "fmnet can't go on: a file or connection: found no connection; "),
    ],
)
def test_what_the_system_refuses_is_reported(script, override, expected):
    done = call(script, override)
    assert done.returncode == 2
    assert done.stderr.startswith(expected)
    assert len(done.stderr.splitlines()) == 1


def test_what_the_script_passes_is_no_key(script):
    done = call(script, "+text=x")
    assert done.returncode == 2
    assert "text: found no such key; accepted: data, seed; " in done.stderr


def test_multirun_works_on_each_value(script):
    done = call(script, "-m", "seed=3,4")
    assert done.returncode == 0, done.stderr
    assert "worked with here 3" in done.stdout
    assert "worked with here 4" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "seen"), [([], ["here"]), (["-m", "seed=3,4"], ["here/0", "here/1"])]
)
def test_each_job_of_a_multirun_has_a_folder_of_its_own(script, arguments, seen):
    main = script.parent / "configs" / "main.yaml"
    main.write_text(main.read_text().replace("path: here", "path: 'here${job_part:}'"))
    done = call(script, *arguments)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("worked with")]
    assert [line.split()[2] for line in lines] == seen


@pytest.mark.parametrize("flag", ["--help", "--cfg=job"])
def test_hydra_answers_for_itself(script, flag):
    done = call(script, flag)
    assert done.returncode == 0
    assert "worked" not in done.stdout
    assert "path: here" in done.stdout


def test_sweep_without_multirun_is_refused(script):
    done = call(script, "seed=3,4")
    assert done.returncode == 2
    assert "seed: found several values; accepted: one value; to do: add -m" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_primary_config_is_checked_too(script):
    (script.parent / "configs" / "other.yaml").write_text(
        "data: {_target_: __main__.read}\nsed: 1\n"
    )
    done = call(script, "--config-name", "other")
    assert done.returncode == 2
    assert "sed: found no such key" in done.stderr


def test_target_that_moved_is_built_under_its_name_of_now(script):
    (script.parent / "configs" / "old.yaml").write_text(
        "data: {_target_: fmnet.study.baselines.constant.Dummy}\nseed: 0\n"
        "hydra: {output_subdir: null, run: {dir: .}}\n"
    )
    done = call(script, "--config-name", "old")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "worked with Dummy() 0"


def test_folder_of_own_configs_is_searched(script, tmp_path):
    own = tmp_path / "of our lab"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "ours.yaml").write_text("# @package _global_\nseed: 7\n")
    done = call(script, "--config-dir", str(own), "+experiment=ours")
    assert (done.returncode, done.stdout.strip()) == (0, "worked with here 7"), done.stderr
    assert call(script, "--config-dir", str(own), "+experiment=hours").returncode == 2


def test_names_in_what_is_printed_steer_no_terminal(capsys):
    show(["AUC of \x1b[31mFM: 0.7\nand HC", "runs/m\udcfcller"])
    assert capsys.readouterr().out == "AUC of \\x1b[31mFM: 0.7\nand HC\nruns/m\\xfcller\n"
