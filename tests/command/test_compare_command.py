from written_runs import write_run

from fmnet.command.compare import main


def test_command_writes_both_files_and_says_where(tmp_path, capsys):
    runs = [str(write_run(tmp_path / name, people=people)) for people, name in enumerate("ab")]
    assert main([*runs, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.html", "comparison.tsv"
    }  # fmt: skip
    assert str(tmp_path / "out" / "comparison.html") in said


def test_what_can_not_be_compared_ends_with_2(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
