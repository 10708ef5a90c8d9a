"""Train fresh networks on the subjects of folds, every choice made on their inner folds."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import ArrayLike, NDArray
from pytorch_lightning.callbacks import Callback
from sklearn.model_selection import StratifiedGroupKFold
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fmnet.data.folds import Fold, deal_units
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, TrainingError
from fmnet.inference.calibration import Calibration
from fmnet.inference.links import Link
from fmnet.inference.preparation import Preparation
from fmnet.networks.backbones import ClosedFormBackbone, NetworkBuilder, ScoreNetwork
from fmnet.networks.heads import LossFunction, per_scan
from fmnet.networks.series import SeriesBackbone
from fmnet.training.adaptation import give_adapter
from fmnet.training.augmentation import BatchTransform, check_augmentation
from fmnet.training.calibration import fit_calibration
from fmnet.training.data import SeriesVolumes, Training, build_data
from fmnet.training.loggers import LoggerBuilder
from fmnet.training.module import (
    NetworkStack,
    OptimizerBuilder,
    SchedulerBuilder,
    ScoreModule,
    StackModule,
    monitored_by,
)
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.training.trainer import (
    CPU_TRAINER,
    WATCHING,
    Fitted,
    History,
    TrainerBuilder,
    build_trainer,
    own_callbacks,
)

#: Folds of the subjects of an inner training, each left out once while a closed form makes its
#: choices; where all training subjects of a fold are learned from, its inner folds are.
N_FOLDS = 3
CPU = torch.device("cpu")
#: The usual optimiser.
ADAMW: OptimizerBuilder = partial(AdamW, lr=1e-3, weight_decay=1e-2, fused=True)


@dataclass(frozen=True)
class Trainable:
    """Everything that defines a training but the data.

    Parameters
    ----------
    build_network : callable
        Input shape (C, X, Y, Z) to a fresh `ScoreNetwork`.
    build_trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    max_epochs : int or None
        Longest training considered; how many epochs are used is chosen on inner folds. With 0 a
        network is used as it was fitted without gradient steps; others need 1 at least. None: 0 or
        20, decided by `fmnet.training.compute.plan_compute`.
    build_optimizer, build_scheduler
        See `OptimizerBuilder` and `SchedulerBuilder`.
    loss : callable, optional
        In place of the head's own, see `ScoreModule`.
    callbacks : tuple of Callback
        Each training gets copies, see `fmnet.training.trainer.own_callbacks`.
    batch_size : int
        Scans per step, of all devices together; normalisation and shuffling need two at least.
    augmentation : BatchTransform or None
        Changes training images.
    build_loggers : tuple of callable
        See `LoggerBuilder`.
    log_dir : Path
        Where logs and checkpoints go.
    n_stacked : int
        Trainings side by side.
    is_resident, is_channels_last, is_compiled : bool
        See `fmnet.training.compute.Compute`.
    device : torch.device
        Where networks are fitted without gradient steps, and score; those that read series are
        fitted on the CPU. Gradient steps are taken where the trainer has them.
    """

    build_network: NetworkBuilder
    build_trainer: TrainerBuilder = CPU_TRAINER
    max_epochs: int | None = None
    build_optimizer: OptimizerBuilder = ADAMW
    build_scheduler: SchedulerBuilder | None = None
    loss: LossFunction | None = None
    callbacks: tuple[Callback, ...] = ()
    batch_size: int = 8
    augmentation: BatchTransform | None = None
    build_loggers: tuple[LoggerBuilder, ...] = ()
    log_dir: Path = Path("logs")
    n_stacked: int = 1
    is_resident: bool = True
    is_channels_last: bool = False
    is_compiled: bool = False
    device: torch.device = CPU

    def __post_init__(self) -> None:
        check_augmentation(self.augmentation)

    @property
    def longest(self) -> int:
        """Epochs of an inner training."""
        assert self.max_epochs is not None, "plan_compute decides it"
        return self.max_epochs

    def quiet(self) -> "Trainable":
        """Leave out loggers, and callbacks that only watch: only a study's own trainings need them.

        Those that change a training, as early stopping does, stay.
        """
        changing = tuple(one for one in self.callbacks if not isinstance(one, WATCHING))
        return replace(self, build_loggers=(), callbacks=changing)


@torch.no_grad()
def predict_scores(
    network: ScoreNetwork, images: FloatArray, batch_size: int = 8, is_for_head: bool = False
) -> NDArray[np.float32]:
    """Score prepared scans, (N, C, X, Y, Z), in float32 where the network lies: (N,) or (N, K).

    With `is_for_head`, compute the outputs that the head makes scores of: (N, n_outputs).
    """
    device, compute = device_of(network), network.outputs if is_for_head else network
    batches = torch.split(torch.from_numpy(images), batch_size)
    scores = [compute(batch.to(device)).cpu() for batch in batches]
    return np.asarray(torch.cat(scores).numpy(), dtype=np.float32)


def score_scans(network: ScoreNetwork, scans: ScanSet, rows: Rows) -> NDArray[np.float32]:
    """Score scans of a fitted set, each by all of its inputs: (N_rows,) or (N_rows, K)."""
    return scans.scores(partial(predict_scores, network), rows)


def fit_networks(
    trainable: Trainable, trainings: list[Training], on_epoch: Callable[[int], Any] = lambda _: None
) -> list[Fitted]:
    """Train a fresh network for each training, `n_stacked` of them side by side.

    Results are the same as one at a time, up to rounding; dropout alone draws other numbers.

    After each epoch `on_epoch` is called with the number of trainings that it belonged to.
    """
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for number, one in enumerate(trainings):
        # together go those that take the same steps: equally many scans of the same values
        key = number if trainable.n_stacked == 1 else 0
        values = id(one.scans.values)
        alike[key, len(one.train), values, one.validation is None, one.n_epochs > 0].append(number)
    fitted: dict[int, Fitted] = {}
    for numbers in alike.values():
        # of about the same length: the longest holds up the others
        numbers.sort(key=lambda number: trainings[number].n_epochs)
        for first in range(0, len(numbers), trainable.n_stacked):
            group = numbers[first : first + trainable.n_stacked]
            done = _fit_together(trainable, [trainings[number] for number in group], on_epoch)
            fitted |= dict(zip(group, done, strict=True))
    return [fitted[number] for number in range(len(trainings))]


def _fit_together(
    trainable: Trainable, trainings: list[Training], on_epoch: Callable[[int], Any]
) -> list[Fitted]:
    fitted = []
    for one in trainings:
        pl.seed_everything(one.seed, verbose=False)
        network = trainable.build_network(one.scans.input_shape).eval()
        give_adapter(network, trainable.build_trainer, one.seed)
        with placed(network, trainable.device) if is_closed_form(network) else nullcontext():
            fit_closed_form(network, one)
            fitted.append(_judge_closed_form(network, one, trainable.loss))
    longest = max(one.n_epochs for one in trainings)
    if longest == 0:
        on_epoch(len(trainings))
        return fitted
    networks = [one.network.train() for one in fitted]
    loggers = [
        [build(trainable.log_dir, one.name) for build in trainable.build_loggers]
        for one in trainings
    ]
    callbacks: list[Callback] = [History(trainings, fitted, loggers, on_epoch)]
    optimizer, loss, batch_size = trainable.build_optimizer, trainable.loss, trainable.batch_size
    settings: dict[str, Any] = {"batch_size": batch_size, "is_compiled": trainable.is_compiled}
    balances = [_balance(*pair) for pair in zip(networks, trainings, strict=True)]
    module: ScoreModule
    if len(trainings) == 1:
        (training,) = trainings
        callbacks += own_callbacks(
            trainable.callbacks, training, trainable.log_dir, bool(loggers[0])
        )
        scheduler = trainable.build_scheduler
        if training.rate_factors:
            scheduler = partial(_repeat_rates, factors=training.rate_factors)
        settings["is_channels_last"] = trainable.is_channels_last
        module = ScoreModule(networks[0], optimizer, scheduler, loss, balances[0], **settings)
    else:
        balance = torch.stack(balances)[:, None]
        module = StackModule(NetworkStack(networks), optimizer, None, loss, balance, **settings)
    trainer = build_trainer(
        trainable.build_trainer,
        longest,
        callbacks,
        [logger for own in loggers for logger in own],
        default_root_dir=trainable.log_dir,
        **({"limit_val_batches": 0} if trainings[0].validation is None else {}),
    )
    data = build_data(trainings, batch_size, trainable.augmentation, trainable.is_resident)
    trainer.fit(module, datamodule=data)
    for done in fitted:
        done.network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        done.network.eval()
    return fitted


def _balance(network: ScoreNetwork, training: Training) -> torch.Tensor:
    return network.head.balance(training.label(training.train))


def _repeat_rates(optimizer: Optimizer, factors: tuple[float, ...]) -> LambdaLR:
    return LambdaLR(optimizer, lambda epoch: factors[min(epoch, len(factors) - 1)])


def is_closed_form(network: ScoreNetwork) -> bool:
    """Tell whether a network has scores to give once it was fitted, without a gradient step.

    Its weights come from the training scans in closed form, or by a network that was pretrained
    elsewhere and reads what they show.
    """
    return isinstance(network.backbone, ClosedFormBackbone) and network.backbone.is_complete


def fit_closed_form(network: ScoreNetwork, training: Training) -> ScoreNetwork:
    """Fit a network that can be in closed form to the training scans; leave others as they are."""
    backbone, scans = network.backbone, training.scans
    if not isinstance(backbone, ClosedFormBackbone):
        return network
    labels, divided = scans.learned(training.train), training.folds
    if divided is None:
        units = [scans.units[row] for row in training.train]
        divided = split_units(scans.strata[training.train], units, training.seed)
    targets, folds = torch.from_numpy(labels), torch.from_numpy(divided)
    if scans.reads_series:
        assert isinstance(backbone, SeriesBackbone)
        device = device_of(network)
        network.to(CPU)  # scans lie on disk, and networks of a brain are found by other libraries
        backbone.fit_series(SeriesVolumes(scans, training.train), targets, folds)
        network.to(device)
    else:
        images = torch.from_numpy(scans.inputs(training.train))
        fit_on_device(network, images, targets, folds)
    return network


def fit_on_device(
    network: ScoreNetwork, images: torch.Tensor, labels: torch.Tensor, folds: torch.Tensor
) -> None:
    """Fit a network to prepared scans where it lies. See `ClosedFormBackbone.fit`."""
    assert isinstance(network.backbone, ClosedFormBackbone)
    device = device_of(network)
    with full_precision():
        network.backbone.fit(images.to(device), labels.to(device), folds.to(device))


@contextmanager
def full_precision() -> Iterator[None]:
    """Let a GPU compute convolutions in float32, so that a fit is what it is on a CPU."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    ):
        yield


def device_of(network: ScoreNetwork) -> torch.device:
    """Say where a network lies."""
    return next(network.parameters()).device


@contextmanager
def placed(network: ScoreNetwork, device: torch.device) -> Iterator[None]:
    """Let a network lie on a device for a while; afterwards it is on the CPU."""
    network.to(device)
    yield
    network.to(CPU)


def split_units(labels: NDArray[Any], units: list[str], seed: int) -> NDArray[np.int64]:
    """Divide training subjects into folds, stratified: the number of each scan's fold, (N,).

    All are in one fold where some fold would leave no subjects of a class to the others. Labels
    that are texts are strata of another target than two groups; of those, any may be rare.
    """
    if labels.dtype.kind == "U":
        n_units = len(set(units))
        return deal_units([str(one) for one in labels], units, min(N_FOLDS, n_units), seed)
    folds = np.zeros(len(labels), dtype=np.int64)
    fewest = min(
        len({unit for unit, own in zip(units, labels, strict=True) if own == label})
        for label in np.unique(labels)
    )
    if fewest < N_FOLDS:
        return folds
    splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed % 2**32)
    for number, (others, held_out) in enumerate(splitter.split(labels, labels, units)):
        if len(set(labels[others])) < len(set(labels)):  # large families can take a class along
            return np.zeros(len(labels), dtype=np.int64)
        folds[held_out] = number
    return folds


@torch.no_grad()
def _judge_closed_form(
    network: ScoreNetwork, training: Training, loss: LossFunction | None
) -> Fitted:
    """Note what a network that was fitted in closed form is worth before its first epoch."""
    if not is_closed_form(network):
        return Fitted(network)
    fitted, rows = Fitted(network, first_epoch=0), training.validation
    if rows is not None:
        compute = partial(predict_scores, network, is_for_head=True)
        outputs = torch.from_numpy(training.scans.scores(compute, rows))
        head, own = copy.deepcopy(network.head).to(CPU), loss and per_scan(loss)
        losses = head.loss(outputs, training.label(rows), _balance(network, training), own)
        fitted.losses.append(float(losses.mean()))
        fitted.scores.append(head(outputs).numpy())
    return fitted


@dataclass(frozen=True, eq=False)
class FoldTask:
    """One fold to train on; its scans are not fitted, and those of ``fold.test`` not touched."""

    scans: ScanSet
    fold: Fold
    seed: int
    name: str

    @property
    def test_rows(self) -> Rows:
        """Rows of the scans of the test fold."""
        return self.scans.rows(self.fold.test)

    def inner_trainings(self, max_epochs: int) -> list[Training]:
        """Set up one training for each inner fold, at full length."""
        return [
            Training(
                self.scans.fit(train),
                train,
                held_out,
                max_epochs,
                self.seed,
                f"{self.name}_inner-{number}",
            )
            for number, (train, held_out) in enumerate(self.scans.inner_rows(self.fold))
        ]

    def outer_training(self, n_epochs: int, rate_factors: tuple[float, ...] = ()) -> Training:
        """Set up the training on all training subjects."""
        rows, seed = self.scans.rows(self.fold.train), self.seed
        scans = self.scans.fit(rows)
        folds = number_inner_folds(scans, self.fold)
        return Training(scans, rows, None, n_epochs, seed, self.name, rate_factors, folds)


def number_inner_folds(scans: ScanSet, fold: Fold) -> NDArray[np.int64] | None:
    """Say of each scan of the training subjects which inner fold it is in: (N_train,).

    None where there are no inner folds.
    """
    if not fold.validation:
        return None
    number_of = {one: number for number, part in enumerate(fold.validation) for one in part}
    rows = scans.rows(fold.train)
    return np.array([number_of[scans.participant_ids[row]] for row in rows], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TrainedFold:
    """A network with the scans as it was trained to see them.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode.
    scans : ScanSet
        Its preparation is fitted on the same subjects.
    n_epochs : int
        Length of training that the inner folds chose.
    inner_loss : ndarray of float, shape (max_epochs,) or (max_epochs + 1,)
        Validation loss after each epoch, mean over inner folds, as far as all of them were trained;
        where the network was fitted in closed form, the first is from before any epoch.
    calibration : Calibration or Link or None
        Fitted on the scores that the networks of the inner folds gave to the subjects held out;
        a link for targets other than two groups. None where it was not asked for.
    name : str
        Of this training, for messages.
    device : torch.device
        Where scores are computed; the network itself is on the CPU.
    """

    network: ScoreNetwork
    scans: ScanSet
    n_epochs: int
    inner_loss: NDArray[np.float64]
    calibration: Calibration | Link | None
    name: str = "the network"
    device: torch.device = CPU

    @property
    def preparation(self) -> Preparation:
        """What turns a new scan into the network's input."""
        assert self.scans.preparation is not None
        return self.scans.preparation

    def scores(self, rows: Rows) -> NDArray[np.float32]:
        """Score scans of the cohort: (N_rows,)."""
        with placed(self.network, self.device):
            scores = score_scans(self.network, self.scans, rows)
        check_finite(self.name, scores)
        return scores


def train_on_folds(
    trainable: Trainable,
    tasks: list[FoldTask],
    on_epoch: Callable[[int], Any] = lambda _: None,
    is_calibrated: bool = True,
    on_inner: Callable[[Training, ScoreNetwork], Any] | None = None,
) -> list[TrainedFold]:
    """Choose each fold's number of epochs on its inner folds, then train on all its subjects.

    The number is the one with the smallest mean loss over the inner folds. A callback that stops
    the training on one inner fold ends the choice there: only epochs that all inner folds reached
    are compared, so that every number is judged by the same subjects. Where the scheduler waits for
    a validation loss, which the training on all subjects doesn't have, that training repeats the
    (geometric) mean of the inner folds' learning rates.

    After each epoch `on_epoch` is called with the number of trainings that it belonged to, and
    `on_inner` with each training of an inner fold and the network that it came to. Where no
    calibration is fitted, and there are no epochs to choose from, inner folds are not trained.

    Raises
    ------
    TrainingError
        If a training diverges.
    """
    if is_calibrated or trainable.longest > 0:
        inner = [task.inner_trainings(trainable.longest) for task in tasks]
        flat = [one for trainings in inner for one in trainings]
        networks = fit_networks(trainable, flat, on_epoch)
        if on_inner is not None:
            for training, done in zip(flat, networks, strict=True):
                on_inner(training, done.network)
        fitted = iter(networks)
        choices = [_choose(task, [next(fitted) for _ in task.fold.validation]) for task in tasks]
    else:
        choices = [_Choice(0, np.empty(0), None, np.empty((0, 0)))] * len(tasks)
    scheduler = trainable.build_scheduler
    is_waiting = scheduler is not None and monitored_by(scheduler).startswith("val/")
    outer = [
        task.outer_training(choice.n_epochs, choice.rate_factors() if is_waiting else ())
        for task, choice in zip(tasks, choices, strict=True)
    ]
    fits = fit_networks(trainable, outer, on_epoch)
    trained = []
    for one, choice, done in zip(outer, choices, fits, strict=True):
        check_finite(one.name, *(weight.detach().numpy() for weight in done.network.parameters()))
        chosen = (choice.n_epochs, choice.inner_loss, choice.calibration)
        device = trainable.device if is_closed_form(done.network) else CPU
        trained.append(TrainedFold(done.network, one.scans, *chosen, one.name, device))
    return trained


@dataclass(frozen=True, eq=False)
class _Choice:
    """What the inner folds decide; ``rates`` are theirs, (n_inner, n_epochs)."""

    n_epochs: int
    inner_loss: NDArray[np.float64]
    calibration: Calibration | Link | None
    rates: NDArray[np.float64]

    def rate_factors(self) -> tuple[float, ...]:
        """Average the inner folds' learning rates, in units of the first: (n_epochs,)."""
        relative = np.log(self.rates / self.rates[:, :1])
        return tuple(np.exp(relative.mean(axis=0)).tolist())


def _choose(task: FoldTask, inner: list[Fitted]) -> _Choice:
    for number, done in enumerate(inner):
        check_finite(f"{task.name}_inner-{number}", done.losses, *done.scores)
    n_common = min(len(done.losses) for done in inner)
    inner_loss = np.mean([done.losses[:n_common] for done in inner], axis=0)
    best = int(inner_loss.argmin())
    n_epochs = inner[0].first_epoch + best
    held_out = np.concatenate([rows for _, rows in task.scans.inner_rows(task.fold)])
    unseen = np.concatenate([done.scores[best] for done in inner])
    calibration: Calibration | Link
    if task.scans.target is None:
        participants = [task.scans.participant_ids[row] for row in held_out]
        calibration = fit_calibration(unseen, task.scans.labels[held_out], participants)
    else:
        calibration = task.scans.target.fit_link(unseen, task.scans.outcomes.take(held_out))
    rates = np.array([done.rates[:n_epochs] for done in inner])
    return _Choice(n_epochs, inner_loss, calibration, rates)


@torch.no_grad()
def scores_of_labelings(
    trainable: Trainable, task: FoldTask, labelings: NDArray[Any]
) -> NDArray[np.float64] | None:
    """Fit a network in closed form under many labelings of all scans, on the device.

    Parameters
    ----------
    labelings : ndarray, shape (L, N) of int, or (L, N, K) of float
        Labels, 0 or 1; or responses.

    Returns
    -------
    ndarray of float, shape (L, N_test) or (L, N_test, K), or None
        What networks of `train_on_folds` give for the scans of the test fold, labeling by labeling;
        None where networks take gradient steps, or read series.
    """
    if (fresh := fresh_closed_form(trainable, task)) is None:
        return None
    backbone, training, folds = fresh
    inputs = [training.scans.inputs(rows) for rows in (training.train, task.test_rows)]
    own = labelings[:, training.train]
    train, labels, numbers, unseen = (
        torch.from_numpy(one).to(trainable.device) for one in (inputs[0], own, folds, inputs[1])
    )
    with full_precision():
        scores = backbone.scores_of_labelings(train, labels, numbers, unseen).cpu().numpy()
    check_finite(task.name, scores)
    return np.asarray(scores, dtype=np.float64)


def fresh_closed_form(
    trainable: Trainable, task: FoldTask
) -> tuple[ClosedFormBackbone, Training, NDArray[np.int64]] | None:
    """Build what is fitted in closed form, on the device, and its training with inner folds.

    None where networks take gradient steps, read series, or there are no inner folds.
    """
    scans = task.scans
    if trainable.longest > 0 or scans.reads_series:
        return None
    pl.seed_everything(task.seed, verbose=False)
    network = trainable.build_network(scans.input_shape).eval()
    give_adapter(network, trainable.build_trainer, task.seed)
    training = task.outer_training(0)
    if not isinstance(network.backbone, ClosedFormBackbone) or training.folds is None:
        return None
    return network.backbone.to(trainable.device), training, training.folds


def check_finite(name: str, *arrays: ArrayLike) -> None:
    """Raise `TrainingError` if numbers of the training of this name are not all finite."""
    if not all(np.isfinite(values).all() for values in arrays):
        raise TrainingError(
            Fault(
                f"training {name}",
                "losses, weights or scores that are not finite: it diverged",
                "a training whose numbers stay finite",
                "lower optimizer.lr",
            )
        )
