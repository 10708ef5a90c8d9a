import pytest

from fmnet.progress import steps
from fmnet.progress.steps import Step, Study, say_time


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    moved = Clock()
    monkeypatch.setattr(steps, "time", moved)
    return moved


def test_what_goes_on_inside_counts_as_the_part_that_it_stands_for():
    folds = Step("folds", 8, done=2)
    models = Step("models", 4, done=1, covers=2)
    folds.opens(models)
    assert folds.fraction == (2 + 2 * 0.25) / 8
    models.opens(Step("training", 10, done=5))
    assert models.fraction == (1 + 0.5) / 4
    models.closes(models.within, is_whole=True)
    assert folds.fraction == (2 + 2 * 0.25) / 8  # a step moves by what it is told alone


def test_time_left_is_told_by_what_was_done_since_the_beginning(clock):
    own = Step("folds", 10, done=4)
    assert own.seconds_left is None
    clock.now += 1
    own.done = 5
    assert own.seconds_left is None  # too early to tell
    clock.now += 5
    own.done = 6  # two folds in six seconds, four to come
    assert own.seconds_left == pytest.approx(12)


def test_time_left_of_a_study_takes_each_stage_by_its_work(clock):
    study = Study("study", 10, costs={"folds": 6.0, "permutations": 4.0})
    folds = Step("folds", 3)
    study.opens(folds)
    clock.now += 9
    assert study.seconds_left is None
    folds.done = 1
    # 18 s of the folds themselves, and 4 units of work at 9 s for 2
    assert (study.fraction, study.seconds_left) == (0.2, pytest.approx(18 + 18))
    folds.done = 3
    study.closes(folds, is_whole=True)
    clock.now += 3  # between stages, at work for the study as well
    permutations = Step("permutations", 100)
    study.opens(permutations)
    assert (study.count, study.seconds_left) == ("60%", pytest.approx(4 * 12 / 6))
    permutations.done = 50
    clock.now += 10
    assert study.seconds_left == pytest.approx(10)  # at its own speed, not that of the folds


def test_stages_that_were_done_before_are_passed_over(clock):
    study = Study("study", 10, costs={"folds": 6.0, "final model": 1.0, "permutations": 3.0})
    permutations = Step("permutations", 30, done=10)
    study.opens(permutations)
    assert study.fraction == pytest.approx(0.8)
    clock.now += 5
    permutations.done = 20
    assert study.seconds_left == pytest.approx(5)
    permutations.done = 30
    study.closes(permutations, is_whole=True)
    assert (study.count, study.seconds_left) == ("100%", 0.0)


def test_steps_that_no_plan_names_take_no_part_of_a_study(clock):
    study = Study("study", 6, costs={"folds": 6.0})
    for title in ("something else", "folds"):
        inner = Step(title, 2)
        study.opens(inner)
        inner.done = 1
        assert study.fraction == (0.5 if title == "folds" else 0.0)
        study.closes(inner, is_whole=False)  # as one that has failed
    assert study.fraction == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.31, "0.3 s"), (0.97, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (150, "2 min"),
        (3590, "1 h 00 min"), (7300, "2 h 02 min"), (47.9 * 3600, "47 h 54 min"),
        (60 * 3600, "2.5 days"),
    ],
)  # fmt: skip
def test_times_are_said_in_words(seconds, words):
    assert say_time(seconds) == words


def test_counts_name_their_unit():
    assert Step("training", 12, "epoch", done=3).count == "3 of 12 epochs"
    assert Step("report", 1, "page").count == "0 of 1 page"
    assert Step("folds", 5).count == "0 of 5"
