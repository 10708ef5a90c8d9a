"""Every primary config composes and passes the check with every option of every group."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.suite import run_suite
from fmnet.config.check import check_config
from fmnet.config.entry import build
from fmnet.errors import ConfigError
from fmnet.export.export import export_run
from fmnet.networks.backbones import ScoreNetwork
from fmnet.runs.pretrained import _plain, run_pretraining
from fmnet.studies.lockbox import evaluate_lockbox
from fmnet.studies.study import run_study
from fmnet.training.own_maps import OwnMapsEpisodeMaker

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SCHEMAS = {
    "train": run_study,
    "export": export_run,
    "benchmark": run_suite,
    "evaluate": evaluate_lockbox,
    "pretrain": run_pretraining,
}
GIVEN = {
    "train": ["run_dir=out"],
    "benchmark": ["out=there"],
    "evaluate": ["run_dir=run"],
    "pretrain": ["run_dir=out"],
    "export": ["run_dir=run", "out=bundle"],
    "cohort=bids": ["cohort.root=maps"],
    "cohort=bold": ["cohort.root=fmriprep"],
    "cohort=injected": ["cohort.images=images.tsv", "cohort.template=pain.nii.gz"],
    "cohort=table": ["cohort.images=images.tsv"],
    "folds=file": ["folds.path=folds.tsv"],
    "suite=langloc": ["suite.images=images.tsv"],
    "suite=shift_real": [
        "suite.studies.real.images=images.tsv",
        "suite.studies.real.template=pain.nii.gz",
    ],
    "suite=haxby": ["suite.data=haxby"],
    "suite=haxby_slice": ["suite.data=haxby"],
}
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml"))
#: Groups that another primary config than train takes its options from.
OWN_GROUPS = {"suite": "benchmark", "episodes": "pretrain", "backbone": "pretrain"}
#: The same of single options, and how they are chosen there.
OWN_OPTIONS = {
    "callbacks=pretraining": ("pretrain", "callbacks=pretraining"),
    "scheduler=warmup_cosine": ("pretrain", "scheduler=warmup_cosine"),
    "episodes=held_out": ("pretrain", "episodes@held_out=held_out"),
}


def test_every_primary_config_has_a_schema():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(SCHEMAS)


@pytest.mark.parametrize("primary", SCHEMAS)
def test_defaults_pass(primary):
    assert check_config(CONFIGS, primary, GIVEN[primary], SCHEMAS[primary])


@pytest.mark.parametrize("primary", SCHEMAS)
def test_multiruns_leave_nothing_in_the_current_folder(primary):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(primary, overrides=GIVEN[primary], return_hydra_config=True)
    assert config.hydra.sweep.dir.startswith("outputs/")


def test_each_job_of_a_multirun_runs_elsewhere():
    folder = OmegaConf.load(CONFIGS / "train.yaml")._get_node("run_dir")._value()
    assert folder == "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}${job_part:}"


@pytest.mark.parametrize("key", ["seed", "overwrite", "run_dir", "store_dir"])
def test_types_at_the_top_are_checked(key):
    with pytest.raises(ConfigError, match=rf"{key}: found 1\.5; accepted: "):
        check_config(CONFIGS, "train", [f"{key}=1.5"], run_study)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_passes(option, monkeypatch):
    monkeypatch.setattr("fmnet.config.signatures.find_spec", lambda _: "as if it were installed")
    group = option.split("=")[0]
    primary, option = OWN_OPTIONS.get(option, (OWN_GROUPS.get(group, "train"), option))
    overrides = [option, *GIVEN[primary], *GIVEN.get(option, [])]
    assert check_config(CONFIGS, primary, overrides, SCHEMAS[primary])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("experiment/*.yaml")), ids=lambda p: p.stem)
def test_experiments_name_their_command(path):
    # Hydra wants its package header before anything else.
    header, command = path.read_text().splitlines()[:2]
    assert header == "# @package _global_"
    assert command == f"# fmnet train experiment={path.stem}"


def test_faults_across_groups_come_at_once():
    wrong = ["network=resnt", "trainer.max_epoch=3", "preparation.mask=grey", "trainer.precision=8"]
    with pytest.raises(ConfigError, match="4 faults") as caught:
        check_config(CONFIGS, "train", wrong, run_study)
    accepted = {fault.where: fault.accepted for fault in caught.value.faults}
    assert "'brain', 'grey_matter'" in accepted["preparation.mask"]
    assert "trainer.max_epochs" in accepted["trainer.max_epoch"]


@pytest.mark.parametrize(
    "lines",
    [
        ["augmentation._target_=monai.transforms.RandFlip", "+augmentation.spatial_axis=0"],
        ["augmentation._target_=monai.transforms.Compose", "+augmentation.transforms=[]"],
        ["augmentation._target_=torch.nn.Identity"],
        ["augmentation._target_=monai.transforms.RandFlip", "+augmentation._partial_=true"],
        ["+augmentation._partial_=true"],
        ["augmentation._target_=fmnet.studies.lockbox.LockBox"],
    ],
)
def test_transform_of_single_images_is_refused_before_anything_is_opened(lines):
    lines = ["run_dir=out", "~augmentation.probability", *lines]
    with pytest.raises(ConfigError, match=r"augmentation\._target_: found .*makes another thing"):
        check_config(CONFIGS, "train", lines, run_study)


@pytest.mark.parametrize("option", ["mlflow", "wandb"])
def test_tracker_that_is_not_installed_is_refused_before_anything_is_opened(option, monkeypatch):
    monkeypatch.setattr("fmnet.config.signatures.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=f"logger.{option}: found {option}, which is not inst.*"):
        check_config(CONFIGS, "train", ["run_dir=out", f"logger={option}"], run_study)


@pytest.mark.parametrize(
    ("primary", "word", "action"),
    [
        ("train", "mybids", r"did you mean cohort=bids cohort\.root=mybids\?"),
        ("train", "/data/my maps", r"did you mean cohort=bids cohort\.root=/data/my maps\?"),
        ("train", "images.tsv", r"did you mean cohort=table cohort\.images=images\.tsv\?"),
        ("train", "cohort.root", r"write cohort\.root=VALUE"),
        ("train", "overwrite", r"write overwrite=VALUE"),
        ("export", "outputs/run", r"did you mean run_dir=outputs/run\?"),
        ("evaluate", "outputs/run", r"did you mean run_dir=outputs/run\?"),
    ],
)
def test_word_alone_is_told_what_it_may_have_been_meant_for(primary, word, action):
    said = rf"{word}: found a word without '='; accepted: arguments of the form key=value; .*"
    with pytest.raises(ConfigError, match=said + action):
        check_config(CONFIGS, primary, [*GIVEN[primary], word], SCHEMAS[primary])


@pytest.mark.parametrize(
    ("wrong", "own", "passed"),
    [
        ("network.widht=3", "network.bands_mm", "network.input_shape"),
        ("+network.widht=3", "network.bands_mm", "network.input_shape"),
        ("optimizer.lrr=2", "optimizer.lr", "optimizer.params"),
        ("+optimizer.lrr=2", "optimizer.lr", "optimizer.params"),
        ("folds.n_fold=2", "folds.n_splits", "folds.cohort"),
        ("+config_yam=x", "run_dir", "config_yaml"),
    ],
)
def test_accepted_names_are_those_that_a_user_may_set(wrong, own, passed):
    with pytest.raises(ConfigError, match="found no such key") as caught:
        check_config(CONFIGS, "train", ["run_dir=out", wrong], run_study, passed=("config_yaml",))
    (fault,) = caught.value.faults
    assert own in fault.accepted.split(", ")
    assert passed not in fault.accepted.split(", ")


TRANSFORMS = (
    "augmentation.transforms=[{_target_: monai.transforms.RandAffine, prob: 0.5, "
    "rotate_range: [0.1, 0.1, 0.1], scale_range: [0.1, 0.1, 0.1], padding_mode: zeros}, "
    "{_target_: monai.transforms.Compose, transforms: [{_target_: monai.transforms.RandBiasField}, "
    "{_target_: monai.transforms.RandGaussianNoise, std: 0.2}, "
    "{_target_: monai.transforms.RandCoarseDropout, holes: 2, spatial_size: 4}]}]"
)


def test_networks_and_transforms_of_monai_pass_and_are_built():
    settings = "network.settings={layers: [1, 1, 1, 1], dropout_prob: 0.2, inplanes: 8}"
    lines = ["network=monai", "network.name=SEResNet50", settings, TRANSFORMS, "run_dir=out"]
    built = build(check_config(CONFIGS, "train", lines, run_study))
    assert built["network"].keywords["settings"]["layers"] == [1, 1, 1, 1]
    assert isinstance(built["network"]((2, 17, 18, 19)), ScoreNetwork)
    assert [type(one).__name__ for one in built["augmentation"].transforms] == [
        "RandAffine",
        "Compose",
    ]


def test_mirror_and_transforms_that_can_not_be_made_are_refused_by_config():
    for given, said in (
        ("{_target_: monai.transforms.RandFlip, spatial_axis: 0}", "can mirror a brain"),
        ("{_target_: torch.nn.Identity}", "found a torch.nn.modules.linear.Identity"),
        ("{_target_: monai.transforms.RandZoom, min_zoom: [1, 2], max_zoom: 3}", "RandZoom"),
    ):
        lines = [f"augmentation.transforms=[{given}]", "run_dir=out"]
        config = check_config(CONFIGS, "train", lines, run_study)
        with pytest.raises(ConfigError, match=said):
            build(config)


def test_earlier_names_of_paths_are_refused_with_those_of_now():
    said = r"network\.paths: found .*to do: write \[focal, voxel_pairs\], as they are"
    with pytest.raises(ConfigError, match=said):
        check_config(CONFIGS, "train", ["network.paths=[places,pairs]", "run_dir=out"], run_study)


def composed(*lines):
    return check_config(CONFIGS, "train", ["run_dir=out", *lines], run_study, False)


def test_several_networks_are_named_in_a_list():
    models = composed("models=[scale_space,small_cnn,resnet]").models
    assert list(models) == ["scale_space", "small_cnn", "resnet"]
    assert (models.small_cnn.max_epochs, models.small_cnn.fwhm_mm) == (20, 8.0)
    assert composed().models == {}
    study = composed("experiment=study", "optimizer@models.small_cnn.optimizer=sgd").models
    assert list(study) == ["small_cnn"]
    assert study.small_cnn.optimizer._target_ == "torch.optim.SGD"
    assert list(composed("experiment=study", "models=[resnet]").models) == ["resnet"]
    assert composed("experiment=study", "models=none").models == {}


def test_networks_of_a_list_are_those_of_the_group_of_the_study():
    names = {path.stem for path in CONFIGS.glob("models/*.yaml")} - {"none"}
    assert names == {path.stem for path in CONFIGS.glob("network/*.yaml")}
    for name in names:
        config = composed(f"models=[{name}]", f"network={name}")
        assert config.models[name].network == config.network


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["models=[smal_cnn]"], r"models: found option 'smal_cnn'; .*did you mean 'small_cnn'\?"),
        (["models=null"], r"models: found option 'null'; .*to do: write models=none"),
        (
            ["models=[small_cnn]", "models.small_cnn.epochs=3"],
            r"models\.small_cnn\.epochs: found no such key; .*did you mean 'max_epochs'\?",
        ),
        (["models=[small_cnn]", "models.small_cnn.fwhm_mm=-2"], r"fwhm_mm: found -2; accepted: a"),
        (
            ["models=[small_cnn]", "models.small_cnn.network.channel=[2]"],
            r"network\.channel: found",
        ),
        (["+models.mine=3"], r"models\.mine: found 3; accepted: a component"),
    ],
)
def test_what_is_wrong_in_a_list_of_networks_is_refused(lines, said):
    with pytest.raises(ConfigError, match=said):
        composed(*lines)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("+episodes.n_suport=[10,20]", r"episodes\.n_suport.*did you mean"),
        ("+episodes.effect.radius=[1,2]", r"episodes\.effect\.radius.*did you mean"),
        ("+held_out.background.fwhm=3", r"held_out\.background\.fwhm.*did you mean"),
        (
            "backbone.features=0",
            r"backbone\.features: found 0; accepted: a whole number, at least 1",
        ),
        ("+warmup=3", r"warmup: found no such key"),
        ("scheduler.warmup=soon", r"scheduler\.warmup.*a whole number"),
        ("episodes.backgrounds_fraction=2", r"backgrounds_fraction: found 2"),
    ],
)
def test_unknown_keys_and_wrong_values_of_pretraining_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        check_config(CONFIGS, "pretrain", ["run_dir=out", wrong], run_pretraining)


def test_pretraining_draws_from_the_priors_that_the_code_has():
    config = check_config(CONFIGS, "pretrain", ["run_dir=out"], run_pretraining)
    mask = torch.zeros(4, 4, 8)

    def plain(one):
        return json.loads(json.dumps(_plain(one)))

    assert plain(build(config)["episodes"](mask)) == plain(OwnMapsEpisodeMaker(mask))


def test_validation_draws_from_elsewhere():
    built = build(check_config(CONFIGS, "pretrain", ["run_dir=out"], run_pretraining))
    mask = torch.zeros(4, 4, 8)
    train, held_out = (built[key](mask).background for key in ("episodes", "held_out"))
    for name in ("n_patterns", "pattern_fraction", "log_sd", "log_scale", "local_sd"):
        assert getattr(held_out, name)[0] >= getattr(train, name)[1], name
    assert len(held_out.fwhm_mm) != len(train.fwhm_mm)
