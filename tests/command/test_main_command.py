"""``fmnet`` itself: it finds its commands, and imports no more than what is asked for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fmnet
from fmnet.command.main import COMMANDS, main
from fmnet.config.primary import PRIMARIES

#: Modules whose import alone takes half a second or more.
SLOW = {
    "torch",
    "pytorch_lightning",
    "monai",
    "pandas",
    "scipy",
    "sklearn",
    "nilearn",
    "matplotlib",
}


def python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def calls_of(*calls):
    """Code that makes calls of the command and prints status and the slow modules imported."""
    return f"""
import sys
from fmnet.command.main import main
for call in {calls!r}:
    sys.argv = ["fmnet", *call]
    try:
        status = main()
    except SystemExit as stop:
        status = stop.code
    slow = sorted({SLOW!r} & set(sys.modules))
    print("END", status, slow, file=sys.stderr)
"""


def test_unknown_option_is_refused_in_the_words_of_the_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--verbos"])
    said = capsys.readouterr().err
    assert said.startswith("usage: fmnet export [group=option ...] [key=value ...] [options]; see")
    assert "fmnet export: error: unrecognized arguments: --verbos" in said
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--confg-dir", "own"])
    assert "did you mean --config-dir?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_every_command_is_listed(arguments, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_knows_its_version(name, capsys):
    assert main([name, "--version"]) == 0
    assert capsys.readouterr().out == f"fmnet {fmnet.__version__}\n"


@pytest.mark.parametrize(("given", "meant"), [("trian", "did you mean train?"), ("x", "--help.")])
def test_unknown_command_is_refused(given, meant, capsys):
    assert main([given]) == 2
    said = capsys.readouterr().err
    assert f"there is no command '{given}' among train, " in said
    assert said.strip().endswith(meant)


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "fmnet compare: stopped\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 2, "what is printed: No space left on device"),
        (PermissionError(13, "Permission denied", "a.tsv"), 2, "a.tsv: Permission denied"),
    ],
)
def test_what_stops_a_command_is_no_traceback(raised, status, said, monkeypatch, capfd):
    def stop(_):
        raise raised

    monkeypatch.setattr("fmnet.command.compare.main", stop)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # the output of pytest stays where it is
    assert main(["compare", "x"]) == status
    error = capfd.readouterr().err
    assert said in error
    assert bool(said) == bool(error)


def test_interruption_that_became_an_exit(monkeypatch, capsys):
    def fit(_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr("fmnet.command.compare.main", fit)
    assert main(["compare", "x"]) == 130
    assert "fmnet compare: stopped" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--verbos"])


def test_help_that_nobody_reads():
    for arguments in ("--help", "make-cohort --help"):
        command = f"{sys.executable} -m fmnet {arguments} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
        assert done.returncode in (0, 141)
        assert done.stderr == b""


def test_help_and_misspelt_keys_import_nothing_slow(tmp_path):
    wrong = [
        ("train", "sed=3", "folds.n_split=3", "run_dir=x", "cohort=bids", "cohort.root=y"),
        ("train", "trainer.max_epoch=3", "network=small_cnn", "optimizer.lrr=3"),
        ("export", "run_dr=x", "out=y"),
        ("train", "network=resnt", "seed=-1", "trainer.precision=8", "network.power=many"),
        ("train", "experimnt=quick", "--config-dir", str(tmp_path), "cohort=ours"),
    ]
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "ours.yaml").write_text("defaults: [bids]\nroot: people\n")
    makers = ("make-cohort", "make-bold-cohort", "make-target-cohort")
    helps = [(name, "--help") for name in ("train", "evaluate", *makers)]
    done = python(calls_of(*helps, *wrong))
    ends = [line for line in done.stderr.splitlines() if line.startswith("END")]
    assert ends == ["END 0 []"] * len(helps) + ["END 2 []"] * len(wrong), done.stderr
    for key in ("sed", "folds.n_split", "trainer.max_epoch", "optimizer.lrr", "run_dr", "network"):
        assert f"{key}: found" in done.stderr, key
    assert "did you mean 'max_epochs'?" in done.stderr
    assert "did you mean 'experiment'?" in done.stderr, "a group of which no option is chosen"
    assert "See fmnet" not in done.stdout
    assert "seed: found -1; accepted: a whole number, at least 0" in done.stderr


@pytest.mark.parametrize("name", PRIMARIES)
def test_base_install_is_told_what_to_install(name):
    code = "import sys\nfor name in ('hydra', 'omegaconf', 'torch'): sys.modules[name] = None\n"
    done = python(
        code + f"from fmnet.command.main import main\nsys.exit(main([{name!r}, 'seed=3']))"
    )
    assert done.returncode == 2
    needed = f"fmnet {name} needs hydra, which is not installed: run pip install 'fmnet[train]'"
    assert done.stderr.strip() in (needed, needed.replace("hydra", "omegaconf"))


def test_help_names_what_the_command_takes_and_no_more(capsys):
    assert main(["train", "cohort=table", "--help"]) == 0
    said = capsys.readouterr().out
    for text in ("cohort=table", "cohort.images=???", "folds.n_splits=5", "--config-dir DIR"):
        assert text in said, text
    assert "n_subjects" not in said  # of the synthetic cohort
    assert "suite" not in said
    assert "backbone=" not in said
    assert "._target_=" not in said
    assert main(["export", "--help"]) == 0
    said = capsys.readouterr().out
    assert "folds=" not in said
    assert "run_dir=???" in said


def test_folder_of_own_configurations(tmp_path, monkeypatch, capsys):
    (tmp_path / "cohort").mkdir()
    own = "# our scanner's maps\ndefaults: [table]\nimages: ours.tsv  # our table\n"
    (tmp_path / "cohort" / "ours.yaml").write_text(own)
    assert main(["train", "--config-dir", str(tmp_path), "cohort=ours", "--help"]) == 0
    said = capsys.readouterr().out
    assert "cohort.images=ours.tsv" in said
    assert "our table" in said
    shadow = own.replace("ours.tsv", "shadow.tsv")
    (tmp_path / "cohort" / "table.yaml").write_text(shadow.replace("[table]", "[bids]"))
    assert main(["train", "--config-dir", str(tmp_path), "cohort=table", "--help"]) == 0
    assert "shadow.tsv" not in capsys.readouterr().out, "names of fmnet stay fmnet's"
    between = ["train", "cohort=ours", "--config-dir", str(tmp_path), "seed=7", "--cfg", "job"]
    monkeypatch.setattr(sys, "argv", ["fmnet", *between])
    assert main() == 0
    assert "ours.tsv" in (printed := capsys.readouterr().out)
    assert "\nseed: 7\n" in printed, "keys may stand before and after options"
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--config-dir", str(tmp_path / "gone"), "cohort=ours"])
    assert "--config-dir" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(PRIMARIES) - {"compare"}))
def test_help_of_every_command_has_two_examples(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/bin/fmnet", name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    said = capsys.readouterr().out
    assert said.split()[:3] == ["usage:", "fmnet", name]
    assert said.split("examples:")[1].count(f"  fmnet {name} ") == 2
    if name.startswith("make-"):
        assert "half of them FM" in said.lower() or "people" in said.lower()


def test_document_shows_what_is_printed(capsys):
    text = (Path(fmnet.__file__).parents[1] / "docs" / "command.md").read_text()
    typed, printed = re.search(r"\$ (fmnet train folds.+)\n([^`]+)```", text).groups()
    with pytest.raises(SystemExit, match="2"):
        main(typed.split()[1:])
    assert capsys.readouterr().err == printed


def test_document_names_every_command():
    text = (Path(fmnet.__file__).parents[1] / "docs" / "command.md").read_text()
    assert [name for name in COMMANDS if f"{name}`" not in text] == []
