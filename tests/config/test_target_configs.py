"""What the documentation says of targets composes."""

from pathlib import Path

import pytest

from fmnet.config.check import check_config
from fmnet.config.jobs import register_resolvers
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(
    ("lines", "key", "wanted"),
    [
        (["target=severity", "target.among={group: [FM]}"], "among", {"group": ["FM"]}),
        (["target=classes", "target.groups={FM: [FM], OA: [kneeOA]}"], "groups",
         {"FM": ["FM"], "OA": ["kneeOA"]}),
        (["target=response", "target.arms=[placebo,drug]"], "arms", ["placebo", "drug"]),
        (["target=onset", "target.times=[1,2]"], "times", [1, 2]),
    ],
)  # fmt: skip
def test_settings_that_people_give(lines, key, wanted):
    register_resolvers()
    given = ["cohort=bids", "cohort.root=nowhere", *lines]
    config = check_config(CONFIGS, "train", given, run_study, False, ("config_yaml",))
    assert config.target[key] == wanted
    assert config.cohort.label is None
    assert set(config.baselines) >= {"dummy", "voxel_ridge"}
