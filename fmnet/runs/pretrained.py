"""The job that pretrains a network on simulated cohorts, and the folder that it writes."""

import csv
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from fmnet.data.files import write_atomically
from fmnet.errors import ConfigError, Fault, RunError
from fmnet.networks.prior_cnn import SignatureCnn
from fmnet.networks.signature_file import (
    PEOPLE,
    Backbone,
    Pretrained,
    build_signature_cnn,
    read_pretrained,
)
from fmnet.progress.show import step
from fmnet.runs.record import code_hash, describe_device, versions
from fmnet.training.episodes import EpisodeMaker
from fmnet.training.loggers import LoggerBuilder, check_loggers
from fmnet.training.module import OptimizerBuilder, SchedulerBuilder
from fmnet.training.own_maps import OwnMapsEpisodeMaker, coarse_mask
from fmnet.training.pretraining import EpisodeData, SignatureModule, WeightsKeeper
from fmnet.training.processes import agreed, end_with_starter, is_first, joined
from fmnet.training.trainer import TrainerBuilder, asked, build_trainer
from fmnet.types import Count, Seed

#: Files of a folder of pretraining beside those of `WeightsKeeper`.
CONFIG, CARD, DESCRIPTION = "config.yaml", "card.md", "signature_cnn.json"
CHECKPOINTS, LAST = "checkpoints", "last.ckpt"


def run_pretraining(
    episodes: Callable[..., EpisodeMaker],
    held_out: Callable[..., EpisodeMaker],
    backbone: Backbone,
    optimizer: OptimizerBuilder,
    trainer: TrainerBuilder,
    callbacks: dict[str, Callback],
    logger: dict[str, LoggerBuilder],
    validate_every: Count,
    n_validation: Count,
    seed: Seed,
    run_dir: str,
    resume: bool,
    scheduler: SchedulerBuilder | None = None,
    start_from: str | None = None,
    config_yaml: str = "",
    command: str = "",
) -> list[str]:
    """Pretrain a network, and write weights, curve and card into the run folder.

    Parameters
    ----------
    episodes, held_out : callable
        A mask to what makes episodes, for training and for validation.
    backbone : Backbone
    optimizer, scheduler : callable
        See `fmnet.training.module`.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`; with ``max_steps``.
    callbacks, logger : dict
        By name.
    validate_every : int
        Steps between validations, after which weights and a checkpoint are written.
    n_validation : int
        Backgrounds in validation for each kind of difference.
    seed : int
        Everything random derives from it.
    run_dir : str
    resume : bool
        Whether what a run in `run_dir` has done is gone on with.
    start_from : str, optional
        File of weights to start from, for instance those of a coarser grid.
    config_yaml, command : str
        Kept with the weights.

    Returns
    -------
    list of str
        For the terminal; the last line is the file of the best weights.
    """
    end_with_starter()
    folder = Path(run_dir)
    check_loggers(list(logger.values()))
    max_steps, n_accumulated = _steps(trainer, validate_every)
    voxel_size_mm = _voxel_size(episodes, held_out)
    mask = coarse_mask(voxel_size_mm)
    pl.seed_everything(seed, verbose=False)
    network = build_signature_cnn(backbone, (mask.shape[0], mask.shape[1], mask.shape[2]))
    record = _describe(episodes(mask), held_out(mask)) | {"seed": seed, "command": command}
    if start_from is not None:
        record["started_from"] = _load(network, backbone, start_from)
    people = {*_people(start_from), *_people(folder / WeightsKeeper.LATEST), *record[PEOPLE]}
    record[PEOPLE] = sorted(people)
    n_batches = validate_every * n_accumulated
    data = EpisodeData(mask, episodes, held_out, seed, n_batches, n_validation)
    module = SignatureModule(network, optimizer, scheduler, data.kinds)
    first = build_trainer(trainer, max_epochs=-1)
    n_episodes = record["episodes"]["n_together"] * n_accumulated * first.world_size
    keeper = WeightsKeeper(folder, backbone, voxel_size_mm, n_episodes, record)
    with joined(first):
        last = agreed(lambda: _claim(folder, resume, config_yaml, backbone))
        built = build_trainer(
            trainer,
            max_epochs=-1,
            callbacks=[_ShownSteps(), keeper, *_placed(callbacks, folder)],
            loggers=[build(folder / "logs", "pretraining") for build in logger.values()],
        )
        # the checkpoint is this run's own, and holds more than weights
        built.fit(module, data, ckpt_path=last, weights_only=False if last else None)
        if not is_first():
            return []
    best = read_pretrained(folder / keeper.BEST)
    write_atomically(folder / DESCRIPTION, json.dumps(_description(best), indent=2) + "\n")
    write_atomically(folder / CARD, card(best, max_steps))
    return [*_rows(folder / keeper.CURVE), str(folder / keeper.BEST)]


class _ShownSteps(Callback):
    """Shows how many steps are done."""

    def __init__(self) -> None:
        self.shown = ExitStack()
        self.seen = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with what was done before."""
        del pl_module
        self.seen = trainer.global_step
        total, title = trainer.max_steps, "pretraining" if is_first() else ""
        self.advance = self.shown.enter_context(step(title, total, "step", done=self.seen))

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move on, where a batch ends a step."""
        self.advance(trainer.global_step - self.seen)
        self.seen = trainer.global_step

    def teardown(self, *_: Any, **__: Any) -> None:
        """Leave the terminal, whatever has ended it."""
        self.shown.close()


def _steps(trainer: TrainerBuilder, validate_every: int) -> tuple[int, int]:
    """Look up the number of steps, and of batches in a step."""
    given = asked(trainer)
    max_steps = given.get("max_steps") or -1
    if max_steps < 1 or max_steps % validate_every:
        accepted = f"a multiple of validate_every ({validate_every})"
        action = "change one of them: the last steps would never be validated"
        raise ConfigError(Fault("trainer.max_steps", f"{max_steps}", accepted, action))
    return max_steps, int(given.get("accumulate_grad_batches") or 1)


def _voxel_size(episodes: Callable[..., Any], held_out: Callable[..., Any]) -> int:
    sizes = [
        asked(one).get("voxel_size_mm", EpisodeMaker.voxel_size_mm) for one in (episodes, held_out)
    ]
    if sizes[0] != sizes[1]:
        found, accepted = f"{sizes[1]:g}", f"that of episodes, {sizes[0]:g}"
        action = "leave held_out.voxel_size_mm out"
        raise ConfigError(Fault("held_out.voxel_size_mm", found, accepted, action))
    if sizes[0] != int(sizes[0]):
        accepted, action = "a whole number of mm", "round it"
        raise ConfigError(Fault("episodes.voxel_size_mm", f"{sizes[0]:g}", accepted, action))
    return int(sizes[0])


def _load(network: SignatureCnn, backbone: Backbone, path: str) -> dict[str, Any]:
    """Start from weights that were learned before; return what is known of them."""
    first = read_pretrained(path)
    if first.backbone != backbone:
        found, accepted = f"weights of {first.backbone}", f"weights of {backbone}"
        action = "choose the backbone that they are of"
        raise ConfigError(Fault("start_from", found, accepted, action))
    network.load_state_dict(first.network.state_dict())
    return {"sha256": first.sha256, "record": first.record}


def _placed(callbacks: dict[str, Callback], folder: Path) -> list[Callback]:
    """Give checkpoints their folder."""
    for one in callbacks.values():
        if isinstance(one, ModelCheckpoint):
            one.dirpath = str((folder / CHECKPOINTS).absolute())
    return list(callbacks.values())


def _claim(folder: Path, resume: bool, config_yaml: str, backbone: Backbone) -> str | None:
    """Make the folder, and find the checkpoint that is gone on with."""
    last, latest = folder / CHECKPOINTS / LAST, folder / WeightsKeeper.LATEST
    if folder.is_dir() and any(folder.iterdir()) and not resume:
        raise RunError(
            Fault(
                str(folder),
                "a folder that is not empty",
                "a new folder, or resume=true",
                "choose another run_dir, or go on with what is there: resume=true",
            )
        )
    if last.is_file() and latest.is_file():
        before = read_pretrained(latest).backbone
        if before != backbone:
            found, accepted = f"a run that trains {before}", f"one of {backbone}"
            action = "go on with its backbone, or choose another run_dir"
            raise RunError(Fault(str(folder), found, accepted, action))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG, config_yaml)
    return str(last) if last.is_file() else None


def _describe(episodes: EpisodeMaker, held_out: EpisodeMaker) -> dict[str, Any]:
    """Describe what a training draws from, and with what it is made."""
    record = {
        "versions": versions(),
        "code_sha256": code_hash(),
        "device": describe_device(),
        "episodes": _plain(episodes),
        "held_out": _plain(held_out),
    }
    own = episodes.hashes if isinstance(episodes, OwnMapsEpisodeMaker) else ()
    return record | {PEOPLE: list(own)}


def _people(path: Path | str | None) -> list[str]:
    """Look up the files that weights were trained on, which stay known to those that go on."""
    if path is None or not Path(path).is_file():
        return []
    return list(read_pretrained(path).record.get(PEOPLE, []))


def _plain(maker: EpisodeMaker) -> dict[str, Any]:
    """Take what describes the priors."""
    kept = {one.name: getattr(maker, one.name) for one in fields(maker) if one.name != "mask"}
    if kept.get("backgrounds"):  # where it lies is nobody's business
        kept["backgrounds"] = Path(kept["backgrounds"]).name
    return {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in kept.items()
    }


def _description(pretrained: Pretrained) -> dict[str, Any]:
    return {
        "sha256": pretrained.sha256,
        "backbone": asdict(pretrained.backbone),
        "voxel_size_mm": pretrained.voxel_size_mm,
        "bands_mm": pretrained.bands_mm,
        "n_parameters": sum(one.numel() for one in pretrained.network.parameters()),
        **pretrained.record,
    }


def card(pretrained: Pretrained, max_steps: int) -> str:
    """Write what a reader has to know of pretrained weights, as Markdown."""
    record, figures = pretrained.record, pretrained.record["figures"]
    gains = "\n".join(
        f"| {name.removeprefix('val/gain_')} | {value:+.4f} |"
        for name, value in figures.items()
        if name.startswith("val/gain_")
    )
    n_parameters = sum(one.numel() for one in pretrained.network.parameters())
    n_files = len(record[PEOPLE])
    origin = (
        f"and on cohorts planted into {n_files} unlabelled maps of people, whose hashes are in "
        "`signature_cnn.json`; studies that hold one of them are refused"
        if n_files
        else "alone; no scan of a person was used"
    )
    before, started = record.get("started_from"), "from the closed form"
    if before:
        n_before = before["record"]["figures"]["episodes"]
        started = (
            f"from weights that had seen {n_before:,.0f} others (`{before['record']['command']}`)"
        )
    return f"""# Pretrained signature network

**For research use only.** It is no medical device and says nothing of a person by itself.

- What it does: turns the statistics of a small training cohort (t-values of two groups in bands of
  a scale space, {pretrained.voxel_size_mm:g} mm) into a linear signature. It is given no scan of
  the people who are scored.
- Trained on simulated cohorts {origin}.
- {figures["episodes"]:,.0f} episodes, none of them twice ({figures["step"]:,.0f} of at most
  {max_steps:,} steps), {started}.
- Network: `{pretrained.backbone.name}` of MONAI, {n_parameters:,} parameters.
- SHA-256 of `signature_cnn.safetensors`: `{pretrained.sha256}`
- Command: `{record["command"]}`
- Device: {record["device"]}

AUROC above the closed form on simulated cohorts from priors that training
didn't draw from (validation chose these weights among those of the run):

| kind of difference | AUROC |
|---|---|
{gains}
| all | {figures["val/gain"]:+.4f} |

Limits: simulated maps are not real ones. What is gained on real maps has to be measured on real
maps.
"""


def _rows(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    return [f"step {one['step']}: AUROC {float(one['val/gain']):+.4f}" for one in rows[-5:]]
