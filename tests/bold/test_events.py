import pytest
from map_fixtures import noise, open_source

from fmnet.bold.events import read_events
from fmnet.errors import VolumeError

ROWS = [
    {"onset": 4, "duration": 2.5, "trial_type": "Neutral - OBSERVAR"},
    {"onset": "10.5", "duration": 0, "trial_type": "pain"},
    {"onset": 12, "duration": "n/a", "trial_type": "n/a"},
]


@pytest.fixture
def run_with(tmp_path, rng, grid, write_tsv):
    def build(rows):
        events = write_tsv(tmp_path / "events.tsv", rows)
        return open_source(grid, noise(rng, grid), events=events)

    return build


def test_reads_what_has_a_trial_type(run_with):
    events = read_events(run_with(ROWS))
    assert events["trial_type"].tolist() == ["Neutral_OBSERVAR", "pain"]
    assert events["onset"].tolist() == [4.0, 10.5]
    assert events["duration"].tolist() == [2.5, 0.0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"onset": "soon"}, "onset 'soon' in line 2"),
        ({"onset": "n/a"}, "onset '' in line 2"),
        ({"duration": -1}, "duration '-1' in line 2"),
        ({"duration": "inf"}, "duration 'inf' in line 2"),
        ({"duration": "2 s"}, "duration '2 s' in line 2"),
        ({"onset": "4,5"}, "onset '4,5' in line 2"),  # the other has a point
        ({"onset": -9999}, "onset '-9999' in line 2"),
        ({"duration": 9999}, "duration '9999' in line 2"),
    ],
)
def test_names_the_line_that_is_wrong(run_with, change, found):
    run = run_with([ROWS[0] | change, ROWS[1]])
    with pytest.raises(VolumeError, match=rf"run-1 \(.*events\.tsv\): found {found}; accepted: "):
        read_events(run)


def test_reads_decimal_commas(run_with):
    rows = [
        {"onset": "4,5", "duration": "1,250", "trial_type": "a"},
        {"onset": "\u22120,25", "duration": "2,500", "trial_type": "b"},
    ]
    events = read_events(run_with(rows))
    assert events["onset"].tolist() == [4.5, -0.25]
    assert events["duration"].tolist() == [1.25, 2.5]


def test_refuses_trial_types_that_formulas_could_not_tell_apart(run_with):
    rows = [ROWS[1] | {"trial_type": name} for name in ("a-b", "a b", "c")]
    with pytest.raises(VolumeError, match="found 'a b' and 'a-b'; accepted: trial types that"):
        read_events(run_with(rows))


@pytest.mark.parametrize(
    ("onset", "found"), [(120_000, "from 120000 s on"), (-90, "from -90 s on")]
)
def test_refuses_events_outside_the_run(run_with, onset, found):
    with pytest.raises(VolumeError, match=rf"no event within the 120 s of the run \({found}\)"):
        read_events(run_with([ROWS[1] | {"onset": onset}]))


def test_refuses_a_table_without_trial_types(run_with):
    rows = [{"onset": 1, "duration": 2, "value": "pain"}]
    with pytest.raises(VolumeError, match="add or rename: 'trial_type'"):
        read_events(run_with(rows))


def test_refuses_no_events(rng, grid):
    with pytest.raises(VolumeError, match=r"sub-01_task-rest_run-1: found no events; accepted: "):
        read_events(open_source(grid, noise(rng, grid)))
