"""`StudyData`: a cohort with what is computed from its scans whatever their labels are."""

from dataclasses import dataclass, replace

from fmnet.baselines.base import BaselineData
from fmnet.data.cohort import Cohort
from fmnet.data.folds import rows_of
from fmnet.data.grid import smooth_values
from fmnet.data.maps import Series
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.networks.series import SeriesBackbone
from fmnet.training.cohort import Harmoniser, SmoothedCohort


@dataclass(frozen=True, eq=False)
class StudyData:
    """What a study is made of.

    Parameters
    ----------
    cohort : Cohort
        Checked scans with labels.
    smoothed : SmoothedCohort
        For the network.
    baseline_data : BaselineData
        For the baselines.
    """

    cohort: Cohort
    smoothed: SmoothedCohort
    baseline_data: BaselineData

    def relabelled(self, cohort: Cohort) -> "StudyData":
        """Take the same scans under other labels."""
        smoothed = self.smoothed.relabelled(cohort.labels)
        return StudyData(cohort, smoothed, self.baseline_data.relabelled(cohort))

    def replaced(
        self, cohort: Cohort, values: FloatArray, series: tuple[Series, ...] | None = None
    ) -> "StudyData":
        """Take other maps, (N, C, V), for the scans of a cohort in the same order.

        Other series too, if they are given.
        """
        settings = self.smoothed.settings
        smoothed = replace(
            self.smoothed,
            values=smooth_values(values, cohort.grid, settings.fwhm_mm),
            labels=cohort.labels,
            series=series if series and self.smoothed.series else self.smoothed.series,
        )
        return StudyData(cohort, smoothed, self.baseline_data.replaced(cohort, values, series))

    def subset(self, people: tuple[str, ...]) -> "StudyData":
        """Take some people's scans alone."""
        rows = rows_of(people, self.cohort.participant_ids)
        cohort = self.cohort.subset(rows)
        return StudyData(
            cohort, self.smoothed.subset(rows), self.baseline_data.subset(cohort, rows)
        )

    def for_network(self, build_network: NetworkBuilder) -> "StudyData":
        """Let the network read time series if it is one that does.

        Raises
        ------
        ConfigError
            If the cohort has no time series, or some are shorter than the network's window.
        """
        backbone = build_network(self.smoothed.input_shape).backbone
        if not isinstance(backbone, SeriesBackbone):
            return self
        series, window = self.cohort.series, backbone.window_volumes
        _check_series(self.cohort, window)
        smoothed = replace(self.smoothed, series=series, window_volumes=window)
        return replace(self, smoothed=smoothed)

    def harmonised(self, harmonise: Harmoniser) -> "StudyData":
        """Take the same scans, harmonised within each training fold."""
        smoothed = replace(self.smoothed, harmonise=harmonise)
        return StudyData(self.cohort, smoothed, self.baseline_data.harmonised(harmonise))


def load_study_data(cohort: Cohort, settings: PreparationSettings) -> StudyData:
    """Load all scans of a cohort and smooth each by itself."""
    return build_study_data(cohort, cohort.values(), settings)


def build_study_data(
    cohort: Cohort, values: FloatArray, settings: PreparationSettings
) -> StudyData:
    """Smooth scans, (N, C, V), NaN where missing, each by itself."""
    smoothed = SmoothedCohort(
        smooth_values(values, cohort.grid, settings.fwhm_mm),
        cohort.labels,
        cohort.participant_ids,
        cohort.grid,
        cohort.listing.contrasts,
        settings,
        unit_of=cohort.unit_of,
    )
    return StudyData(cohort, smoothed, BaselineData(cohort, values, cohort.series))


def _check_series(cohort: Cohort, window_volumes: int) -> None:
    """Raise `ConfigError` unless each scan has as many volumes as the network reads at a time."""
    if not cohort.series:
        accepted = "a network of maps, for a cohort of maps"
        action = "choose another network, for instance scale_space, or cohort=bold"
        raise ConfigError(Fault("network", "one that reads time series", accepted, action))
    short = [
        Fault(
            scan.scan_id,
            f"{series.n_volumes} volumes after cleaning",
            f"{window_volumes} or more, the network's window",
            "set a smaller network.window_volumes, or leave the person out",
            scan.participant_id,
        )
        for scan, series in zip(cohort.scans, cohort.series, strict=True)
        if series.n_volumes < window_volumes
    ]
    if short:
        raise ConfigError(short)
