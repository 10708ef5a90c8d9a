"""A network of fmnet's as an estimator of scikit-learn's, fitted on images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fmnet.api.classifier_input import LABEL, Images, read_training, read_values
from fmnet.api.images import temporary_folder
from fmnet.api.loaded import Signature, image_of
from fmnet.api.page import Page
from fmnet.api.whole_study import study
from fmnet.crossval.final import FINAL
from fmnet.crossval.fold_loop import fold_seed
from fmnet.data.folds import build_inner_folds
from fmnet.errors import Fault, InputError
from fmnet.inference.calibration import Calibration
from fmnet.inference.preparation import MapPreparation
from fmnet.networks.backbones import mean_gradient
from fmnet.networks.rebuild import describe_builder
from fmnet.runs.final_models import network_title
from fmnet.signature.linear import linear_part
from fmnet.training.fit import FoldTask, predict_scores, train_on_folds
from fmnet.training.scan_set import ScanSet


class SignatureClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify brain maps of two groups by a network, as scikit-learn and nilearn do.

    Each fit chooses the length of training and the calibration on inner folds of the people it is
    given, and then learns from all of them. Nothing is known of how well that works on others:
    `sklearn.model_selection.cross_val_score` says it, or `fmnet.study` with all that an honest
    study needs. Research use only.

    Parameters
    ----------
    network : str or callable
        An option of ``network`` in the configuration: ``prior_cnn`` (fitted without gradient steps,
        in seconds), ``small_cnn``, ``resnet``, ``densenet``, ``monai``, ``scale_space``; or a
        function of a module of your own, see `fmnet.study`.
    voxel_size_mm : int
        Edge of the voxels that maps are put on, from 1 to 12 mm.
    fwhm_mm : float
        Smoothing, full width at half maximum in mm; 0 for none.
    mask : {"brain", "grey_matter"}
        Which voxels of the MNI152 template are looked at.
    max_epochs : int, optional
        Longest training; by default none for a network fitted without gradient steps, 20 for
        others.
    inner_splits : int
        Inner folds, on which choices are made.
    contrasts : sequence of str, optional
        Names of the maps of each scan, where images are tuples of several.
    space : str
        Space of the images whose names don't state it.
    settings : dict, optional
        Any other key of the configuration of a training: ``{"optimizer.lr": 1e-4}``.
    memory : path, optional
        Folder that keeps decoded maps, so that the next fit needn't decode them.
    n_jobs : int
        Threads that read images.
    random_state : int, RandomState or None
        What everything random derives from; an int for the same results each time.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels, sorted; larger scores speak for the second.
    weights_img_ : nibabel image
        Weight of each voxel, score per unit of the map: exact for the linear part of a network,
        else the mean gradient of its score over the training scans.
    weights_kind_ : str
        Which of the two.
    network_ : ScoreNetwork
        As trained, a torch module.
    preparation_ : MapPreparation
        What turns maps into the network's input, fitted on the same people.
    calibration_ : Calibration
        From score to probability, fitted on people of the inner folds.
    n_epochs_ : int
        Length of training that the inner folds chose.
    n_elements_ : int
        Number of voxels in the mask, over all contrasts.

    See Also
    --------
    fmnet.study : The whole honest study, with baselines, audits and a report.

    Examples
    --------
    >>> from fmnet import SignatureClassifier
    >>> from sklearn.model_selection import cross_val_score
    >>> model = SignatureClassifier(voxel_size_mm=8)
    >>> cross_val_score(model, maps, y, scoring="roc_auc")  # doctest: +SKIP
    """

    def __init__(
        self,
        network: Any = "prior_cnn",
        voxel_size_mm: float = 4,
        fwhm_mm: float = 0.0,
        mask: str = "brain",
        max_epochs: int | None = None,
        inner_splits: int = 3,
        contrasts: Sequence[str] | None = None,
        space: str = "MNI152",
        settings: Mapping[str, Any] | None = None,
        memory: str | Path | None = None,
        n_jobs: int = 1,
        random_state: Any = 0,
    ) -> None:
        self.network = network
        self.voxel_size_mm = voxel_size_mm
        self.fwhm_mm = fwhm_mm
        self.mask = mask
        self.max_epochs = max_epochs
        self.inner_splits = inner_splits
        self.contrasts = contrasts
        self.space = space
        self.settings = settings
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, imgs: Any, y: Any, groups: Any = None) -> Self:
        """Learn from images which of two groups somebody belongs to.

        Parameters
        ----------
        imgs : list, DataFrame or 4-D nibabel image
            N maps: paths or nibabel images, or tuples of them for several contrasts. A DataFrame
            has ``participant_id`` and ``path``, one row per scan. File names with ``sub-NAME``
            say whose a scan is; scans of one person are kept together.
        y : array-like, shape (N,)
            Labels of two groups.
        groups : array-like, shape (N,), optional
            Whom people belong together with (families), who are kept together in inner folds.

        Returns
        -------
        SignatureClassifier
            Itself.

        Raises
        ------
        InputError
            If images and labels don't fit together, or there aren't two groups.
        FmnetError
            With all that is wrong with images, people or settings.
        """
        labels = self._labels(y)
        seed = self._seed()
        # trainings seed the generators that everybody shares
        with temporary_folder() as folder, isolate_rng():
            asked = {"network": self.network, **self._settings(), "seed": seed}
            images = Images(imgs, self.space, self.memory, self.n_jobs, self.contrasts)
            scans, trainable = read_training(images, (labels, self.classes_, groups), asked, folder)
            fold = build_inner_folds(scans.cohort, self.inner_splits, seed)
            task = FoldTask(scans, fold, fold_seed(seed, FINAL), "final")
            trained = train_on_folds(trainable, [task])[0]
        assert isinstance(trained.preparation, MapPreparation)
        assert isinstance(trained.calibration, Calibration)
        self.network_, self.preparation_ = trained.network, trained.preparation
        self.calibration_, self.n_epochs_ = trained.calibration, trained.n_epochs
        self.n_elements_, self._contrasts = scans.values[0].size, scans.contrasts
        self._add_weights(trained.scans)
        built = describe_builder(trainable.build_network, ())
        self._title = network_title(built.builder, built.settings, [trained.n_epochs])
        counts = {str(one): int((labels == one).sum()) for one in self.classes_}
        self._about = {"counts": counts, "n_people": len(set(scans.participant_ids))}
        self._given = (imgs, labels, groups, seed)
        return self

    def decision_function(self, imgs: Any) -> NDArray[np.float64]:
        """Score images: above 0 speaks for ``classes_[1]``, below for ``classes_[0]``.

        Parameters
        ----------
        imgs : list, DataFrame or 4-D nibabel image
            As in `fit`.

        Returns
        -------
        ndarray, shape (N,)
            The network's score less that at which both groups are equally probable.

        Raises
        ------
        VolumeError
            With all that is wrong with the images.
        """
        check_is_fitted(self, "network_")
        images = Images(imgs, self.space, self.memory, self.n_jobs, self._contrasts)
        values = read_values(images, self.preparation_)
        scores = predict_scores(self.network_, self.preparation_.images(values))
        return np.asarray(scores, dtype=np.float64) - self._middle

    @property
    def _middle(self) -> float:
        """The score at which both groups are equally probable; 0 where inner folds tell nothing."""
        found = self.calibration_
        return -found.intercept / found.slope if found.slope > 0 else 0.0

    def predict(self, imgs: Any) -> NDArray[Any]:
        """Tell which group images are more like: (N,). See `decision_function`."""
        check_is_fitted(self, "network_")
        return np.asarray(self.classes_[(self.decision_function(imgs) > 0).astype(int)])

    def predict_proba(self, imgs: Any) -> NDArray[np.float64]:
        """State probabilities of both groups, taken to be equally common: (N, 2).

        They are calibrated on people of inner folds whom the network had not seen.
        """
        odds = self.decision_function(imgs)
        positive = self.calibration_.probability(odds + self._middle)
        return np.stack([1 - positive, positive], axis=1)

    def report(self, title: str | None = None) -> Page:
        """Show what was fitted: people, settings, and the weights on the brain.

        Parameters
        ----------
        title : str, optional
            Heading.

        Returns
        -------
        Page
            Shown by notebooks; ``save_as_html`` writes it.
        """
        check_is_fitted(self, "network_")
        return Page.of_classifier(self, title or self._title)

    def export(
        self,
        folder: str | Path,
        names: Sequence[str] | None = None,
        baselines: str = "default",
        n_splits: int = 5,
        overwrite: bool = False,
        allow_uninformative: bool = False,
    ) -> Signature:
        """Study the network on the images it was fitted on, and export it as a signature.

        A bundle says how its signature does on people it has not seen, so it is cross-validated
        first, beside baselines, by `fmnet.study`; the run folder stays in ``FOLDER_run``. The
        images have to be where they were.

        Parameters
        ----------
        folder : path
            Of the bundle.
        names : sequence of str, optional
            What the groups are called in the signature, in the order of ``classes_``; its scores
            speak for the second. Without them groups are called as in `y`, and scores speak for
            ``FM`` if there is one, else for ``classes_[1]``.
        baselines : str
            An option of ``baselines``.
        n_splits : int
            Folds.
        overwrite : bool
            Whether the bundle and the run of before may be replaced.
        allow_uninformative : bool
            Whether it is exported if it is not above chance; all its predictions say so.

        Raises
        ------
        ExportError
            If it is not above chance on people it has not seen.
        """
        check_is_fitted(self, "network_")
        if not hasattr(self, "_given"):
            found = "an estimator that was pickled, and so has no images with it"
            accepted, action = "one that was fitted in this session", "call fit(imgs, y) again"
            raise InputError(Fault("export", found, accepted, action))
        imgs, labels, groups, seed = self._given
        out, called = Path(folder), [str(one) for one in (names or self.classes_)]
        if len(called) != 2:
            accepted = "two names, in the order of classes_"
            raise InputError(Fault("names", ", ".join(called), accepted, "name both groups"))
        studied = study(
            imgs,
            np.where(labels == self.classes_[1], called[1], called[0]),
            label=LABEL,
            positive=called[1] if names else None,
            groups=groups,
            contrasts=self.contrasts,
            network=self.network,
            baselines=baselines,
            n_splits=n_splits,
            out=out.with_name(f"{out.name}_run"),
            overwrite=overwrite,
            settings=self._settings() | {"seed": seed, "cohort.space": self.space},
        )
        return studied.export(out, "network", overwrite, allow_uninformative)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the images: who is given a fitted estimator isn't given people's brains."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_given", None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags.multi_class = False
        return tags

    def _labels(self, y: Any) -> NDArray[Any]:
        if y is None:
            # in words that scikit-learn's checks look for
            found = "None: requires y to be passed, but the target y is None"
            raise InputError(Fault("y", found, "a label for each image", "call fit(imgs, y)"))
        labels = column_or_1d(y, warn=True)
        if pd.isna(labels).any():
            raise InputError(
                Fault("y", "NaN", "a label for each image", "leave out those without one")
            )
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            found = f"{len(self.classes_)} class{'es' if len(self.classes_) > 1 else ''}"
            kind = type_of_target(labels)
            accepted = "labels of 2 classes. Only binary classification is supported. The type of "
            accepted += f"the target is {kind}"
            action = "give images of two groups; of numbers, study a target with fmnet.study"
            raise InputError(Fault("y", found, accepted, action))
        return np.asarray(labels)

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _settings(self) -> dict[str, Any]:
        """Say in the configuration's keys what was chosen."""
        size = float(self.voxel_size_mm)
        return {
            "preparation.voxel_size_mm": int(size) if size.is_integer() else size,
            "preparation.fwhm_mm": self.fwhm_mm,
            "preparation.mask": self.mask,
            "folds.inner_splits": self.inner_splits,
            "trainer.max_epochs": self.max_epochs,
            **dict(self.settings or {}),
        }

    def _add_weights(self, scans: ScanSet) -> None:
        """Take the weights of the linear part, or the mean gradient over the training scans."""
        preparation, grid = self.preparation_, self.preparation_.grid
        linear = linear_part(self.network_, preparation)
        if linear is not None:
            weights = linear.weights
            self.weights_kind_ = f"linear part, {linear.fraction:.0%} of the score"
        else:
            import torch

            inputs = torch.from_numpy(scans.inputs(np.arange(len(scans.values))))
            gradient = mean_gradient(self.network_, inputs).numpy()
            weights = preparation.weights_of_maps(gradient[:, grid.mask])
            self.weights_kind_ = "mean gradient of the score over the training scans"
        self.weights_img_ = image_of(grid, np.asarray(weights, np.float32))
