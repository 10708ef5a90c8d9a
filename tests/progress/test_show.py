import io
import re
import threading
from types import SimpleNamespace

import pytest

from fmnet.progress import show
from fmnet.progress.show import paused, say, step, studying, track

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\r\x1b]+\n")


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(show, "sys", SimpleNamespace(stderr=screen, stdout=io.StringIO()))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return screen


@pytest.fixture
def log(monkeypatch):
    """A log that is told of every advance."""
    text = io.StringIO()
    monkeypatch.setattr(show, "sys", SimpleNamespace(stderr=text))
    monkeypatch.setattr(show, "LINE_EACH", 0.0)
    return text


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert show._steps == []
    assert show._displays == []


def look(screen):
    """Draw the bars once more, and give what was drawn."""
    screen.seek(0)
    screen.truncate()
    show._displays[0].progress.refresh()
    return screen.getvalue()


def test_a_log_gets_whole_lines(log):
    with step("folds", 3) as advance:
        with step("training", 4, "epoch") as on_epoch:
            on_epoch(2)
        advance(note="2 ok, 1 failed")
    lines = log.getvalue().splitlines(keepends=True)
    assert all(LINE.fullmatch(line) for line in lines)
    said = [line[20:] for line in lines]
    assert said == [
        "folds: 0 of 3, training: 2 of 4 epochs; time left not known yet\n",
        "folds: 1 of 3 (2 ok, 1 failed); time left not known yet\n",
    ]


def test_a_log_is_told_now_and_then_alone(log, monkeypatch):
    monkeypatch.setattr(show, "LINE_EACH", 30.0)
    now = show.time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now)
    list(track(range(5), "reading scans", 5))
    assert log.getvalue() == ""  # it is over at once
    with step("reading scans", 5) as advance:
        for _ in range(4):
            now += 20
            advance()
    (first, second) = log.getvalue().splitlines()
    assert first.endswith("reading scans: 2 of 5; about 1 min left")
    assert second.endswith("reading scans: 4 of 5; about 20 s left")


@pytest.mark.parametrize("seconds_between_lines", [30.0, 0.0])
def test_a_log_is_told_once_of_every_stage_of_a_study(log, monkeypatch, seconds_between_lines):
    monkeypatch.setattr(show, "LINE_EACH", seconds_between_lines)
    with studying({"folds": 6.0, "further seeds": 0.0, "report": 2.0}):
        for _ in track(range(3), "folds", 3):
            with step("models", 2) as advance:
                advance(2)
        with step("report", 1, "page") as advance:
            advance()
    said = [line[20:] for line in log.getvalue().splitlines()]
    ends = [line for line in said if " in " in line]
    assert len(ends) == len(said) or seconds_between_lines == 0
    assert [line for line in said if line.startswith("report")] == [ends[1]]
    assert ends == [
        "folds: 3 of 3 in 0.0 s; study 75%, time left not known yet",
        "report: 1 of 1 page in 0.0 s; study 100%",
        "study: done in 0.0 s",
    ]


def test_a_study_that_fails_is_not_called_done(log):
    def fail():
        with studying({"folds": 6.0}):
            for _ in track(range(3), "folds", 3):
                raise ValueError("a fault of the third fold")

    with pytest.raises(ValueError, match="a fault of the third fold"):
        fail()
    assert "done" not in log.getvalue()
    with step("permutations", 2) as advance:  # what comes after it is no part of it
        advance()
    assert log.getvalue()[20:].startswith("permutations: 1 of 2;")


def test_only_one_thread_of_the_first_process_shows_anything(log, monkeypatch):
    def work():
        with studying({"folds": 1.0}), step("folds", 1) as advance:
            advance()

    with step("outside", 1):
        other = threading.Thread(target=lambda: list(track(range(2), "inside", 2)))
        other.start()
        other.join()
    assert log.getvalue() == ""
    monkeypatch.setattr(show, "parent_process", lambda: "a process that has started this one")
    work()
    assert log.getvalue() == ""
    monkeypatch.undo()


def test_steps_without_a_title_or_units_are_not_shown(log):
    with step("", 3) as advance:
        advance(2, note="nobody reads it")
    assert list(track([], "reruns", 0)) == []
    assert log.getvalue() == ""


def test_a_log_that_nobody_reads_any_more_costs_nothing(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(show, "sys", SimpleNamespace(stderr=Closed()))
    say("a line")
    monkeypatch.setattr(show, "sys", SimpleNamespace(stderr=None))
    say("a line")


def test_lines_of_text_steer_no_terminal(log):
    say("red \x1b[31m\nnext")
    assert log.getvalue() == "red \\x1b[31m\\nnext\n"
    with step("groups matched on \x1b[2J", 1) as advance:
        advance()
    assert "\x1b" not in log.getvalue()


def test_a_terminal_shows_nested_bars_and_the_time_left(terminal, monkeypatch):
    now = show.time.monotonic()
    monkeypatch.setattr("fmnet.progress.steps.time.monotonic", lambda: now)
    with studying({"folds": 6.0, "permutations": 18.0}), step("folds", 3) as advance:
        now += 40
        advance()
        with step("training [bold]", 12, "epoch") as on_epoch:
            on_epoch(9)
            drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", look(terminal))
    rows = [line.rstrip() for line in drawn.splitlines() if line.strip()]
    assert [row.split("━")[0].split("╸")[0].rstrip() for row in rows] == [
        "study", "  folds", "    training [bold]",
    ]  # fmt: skip
    # 1.75 of 3 folds in 40 s are 3.5 of 24 units of work: 29 s, and 18 units at 11 s
    assert re.search(r"15% +40 s, about 4 min left$", rows[0])
    assert re.search(r"1 of 3 +40 s, about 29 s left$", rows[1])
    assert re.search(r"9 of 12 epochs +0.0 s, time left not known yet$", rows[2])
    assert terminal.getvalue().count("\x1b[?25h") == 1  # the cursor is there again


def test_lines_are_written_above_the_bars(terminal):
    with step("scans", 3):
        say("sub-01: [no] page")
    assert "sub-01: [no] page\n" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


def test_bars_leave_the_terminal_to_others_for_a_while(terminal):
    with step("folds", 3):
        live = show._displays[0].progress.live
        with paused():
            assert not live.is_started
        assert live.is_started
    with paused():  # where there is nothing to leave
        pass


def test_one_bar_is_shown_where_rich_is_missing(terminal, monkeypatch):
    monkeypatch.setattr(show, "find_spec", lambda _: None)
    with step("scans", 7) as advance:
        with step("inner", 2) as on_inner:
            on_inner()
        say("sub-01: no page")
        advance(3)
    assert "scans:   0%|" in terminal.getvalue()
    assert "inner" not in terminal.getvalue()
    assert "sub-01: no page\n" in terminal.getvalue()


def test_a_terminal_without_a_cursor_is_a_log(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(show, "LINE_EACH", 0.0)
    with step("scans", 7) as advance:
        advance()
    assert LINE.fullmatch(terminal.getvalue())
