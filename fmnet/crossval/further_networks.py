"""Further networks of a study, which stand in the same folds as its own (``models=[...]``)."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from fmnet.crossval.fold_loop import TrainedNetwork
from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import InputShape, NetworkBuilder
from fmnet.networks.prior_path import check_people
from fmnet.networks.rebuild import check_network, describe_builder
from fmnet.training.compute import Compute, check_plan, plan_compute
from fmnet.training.fit import ADAMW, Trainable, is_closed_form
from fmnet.training.module import OptimizerBuilder, SchedulerBuilder
from fmnet.training.scan_set import ScanSet
from fmnet.training.trainer import check_training
from fmnet.types import NETWORK, NonNegative, NonNegativeCount


@dataclass(frozen=True, eq=False)
class FurtherNetwork:
    """A network that is trained beside a study's own, and what is different about its training.

    Device, batch size, augmentation, loss, callbacks, loggers and seed are those of the study.

    Parameters
    ----------
    network : callable
        Input shape to a fresh network.
    fwhm_mm : float, optional
        Smoothing of the maps that it reads, full width at half maximum; that of the study's
        network if not given.
    max_epochs : int, optional
        Longest training considered; how many epochs are used is chosen on inner folds. If not
        given, ``trainer.max_epochs``, and without that none for a network fitted in closed form and
        20 for others.
    optimizer, scheduler : callable
        See `fmnet.training.module.OptimizerBuilder` and `SchedulerBuilder`; none of the study's
        own, which suit its own network.
    """

    network: NetworkBuilder
    fwhm_mm: NonNegative | None = None
    max_epochs: NonNegativeCount | None = None
    optimizer: OptimizerBuilder = ADAMW
    scheduler: SchedulerBuilder | None = None

    def trainable(self, study: Trainable) -> Trainable:
        """Say how it is trained in a study that trains its own network so."""
        longest = study.max_epochs if self.max_epochs is None else self.max_epochs
        return replace(
            study,
            build_network=self.network,
            max_epochs=longest,
            build_optimizer=self.optimizer,
            build_scheduler=self.scheduler,
        )


@dataclass(frozen=True, eq=False)
class StudyNetworks:
    """How the network of a study and its further ones, by name, are trained; all checked.

    A network in ``models`` that is built just as the study's own is that, and isn't trained a
    second time: these are named in `same`.
    """

    own: Trainable
    further: Mapping[str, Trainable]
    same: tuple[str, ...] = ()

    def check_people(self, hashes: Collection[str], shape: InputShape) -> None:
        """Refuse people whose maps a network was pretrained on.

        Parameters
        ----------
        hashes : collection of str
            Of the contents of all files of the study, those of the lock-box too.
        shape : tuple of int
            (C, X, Y, Z) of a scan.

        Raises
        ------
        LeakError
            If there are some.
        """
        for one in (self.own, *self.further.values()):
            check_people(one.build_network(shape), hashes)

    def said(self) -> list[str]:
        """Say which networks were named twice."""
        return [
            f"models.{name} is the study's own network: it was trained once, as the study says"
            for name in self.same
        ]


def check_networks(
    models: Mapping[str, FurtherNetwork],
    study: Trainable,
    taken: Collection[str],
    compute: Compute,
    shape: InputShape,
) -> StudyNetworks:
    """Build every network of a study and decide how long it is trained, on no scan.

    Parameters
    ----------
    models : dict
        The further networks.
    study : Trainable
        How the study's own network is trained, as it was asked for.
    taken : collection of str
        Names of the baselines.
    compute : Compute
        How trainings are computed.
    shape : tuple of int
        (C, X, Y, Z) of a scan.

    Raises
    ------
    ConfigError
        If a network can't be built for this grid, a setting would have no effect or can't be
        served, or a name stands for two models.
    """
    own = check_network(study.build_network, shape)
    if study.loss is not None:
        own.head.check_loss(study.loss)
    described = describe_builder(study.build_network, ())
    same = [n for n, one in models.items() if describe_builder(one.network, ()) == described]
    faults, further = [], dict[str, Trainable]()
    for name in sorted({*taken, NETWORK} & (models.keys() - set(same))):
        action = f"take one of them out, or give baselines.{name} another name"
        found, accepted = "the name of another model", "one model of each name"
        faults.append(Fault(f"models.{name}", found, accepted, action))
    for name, one in models.items():
        if name in same:
            continue
        try:
            with _naming(name):
                further[name] = _checked(name, one, study, compute, shape)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    is_fitted = study.max_epochs in {None, 0} and is_closed_form(own)
    if is_fitted and any(one.longest for one in further.values()):
        study = without_steps(study)
    return StudyNetworks(check_plan(study, compute, own, shape), further, tuple(same))


def _checked(
    name: str, one: FurtherNetwork, study: Trainable, compute: Compute, shape: InputShape
) -> Trainable:
    asked_for = one.trainable(study)
    check_training(asked_for.build_trainer, one.optimizer, one.scheduler)
    network = check_network(one.network, shape)
    if study.loss is not None:
        network.head.check_loss(study.loss)
    is_fitted = is_closed_form(network)
    if asked_for.max_epochs == 0 and not is_fitted:
        accepted = "1 epoch or more for a network whose weights are random at first"
        raise ConfigError(Fault("max_epochs", "0", accepted, f"set models.{name}.max_epochs=20"))
    if is_fitted and not asked_for.max_epochs:
        asked_for = without_steps(asked_for)
    return check_plan(asked_for, compute, network, shape)


def without_steps(trainable: Trainable) -> Trainable:
    """Leave out what only gradient steps use: in this study it is there for other networks."""
    trainer = partial(trainable.build_trainer, gradient_clip_val=None)
    return replace(trainable, build_trainer=trainer, callbacks=(), augmentation=None)


def plan_networks(
    models: Mapping[str, FurtherNetwork],
    checked: StudyNetworks,
    compute: Compute,
    scans: ScanSet,
    seed: int,
) -> dict[str, TrainedNetwork]:
    """Decide how many trainings of each further network run at once, and smooth scans for it.

    Raises
    ------
    ConfigError, TrainingError
        If the cohort hasn't what a network reads, or the device computes wrongly.
    """
    planned = {}
    for name, trainable in checked.further.items():
        one = TrainedNetwork(trainable, seed, name, models[name].fwhm_mm)
        with _naming(name):
            own = one.own_scans(scans)
            planned[name] = replace(one, trainable=plan_compute(trainable, compute, own))
        if not own.reads_series:
            own.smoothed(own.settings.fwhm_mm)  # once, for all processes
    return planned


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of what is wrong in a further network which one it is."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError([_located(one, f"models.{name}") for one in error.faults]) from error


def _located(fault: Fault, where: str) -> Fault:
    """Say where a fault lies, whose own place is a key of a study or of a further network."""
    if fault.where == "network":
        return replace(fault, where=where)
    is_own = fault.where.startswith(("max_epochs", "optimizer", "scheduler"))
    return replace(fault, where=f"{where}{'.' if is_own else ', '}{fault.where}")
