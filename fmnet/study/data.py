"""`StudyData`: a cohort with what is computed from its scans whatever their labels are."""

from dataclasses import dataclass, replace

from fmnet.data.cohort import Cohort
from fmnet.data.folds import rows_of
from fmnet.data.grid import smooth_values
from fmnet.data.volume import FloatArray
from fmnet.deploy.preparation import PreparationSettings
from fmnet.study.baselines.base import BaselineData
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
        smoothed = replace(self.smoothed, labels=cohort.labels)
        return StudyData(cohort, smoothed, self.baseline_data.relabelled(cohort))

    def replaced(self, cohort: Cohort, values: FloatArray) -> "StudyData":
        """Take other maps, (N, C, V), for the scans of a cohort in the same order."""
        settings = self.smoothed.settings
        smoothed = replace(
            self.smoothed,
            values=smooth_values(values, cohort.grid, settings.fwhm_mm),
            labels=cohort.labels,
        )
        return StudyData(cohort, smoothed, self.baseline_data.replaced(cohort, values))

    def subset(self, people: tuple[str, ...]) -> "StudyData":
        """Take some people's scans alone."""
        rows = rows_of(people, self.cohort.participant_ids)
        cohort = self.cohort.subset(rows)
        smoothed = replace(
            self.smoothed,
            values=self.smoothed.values[rows],
            labels=cohort.labels,
            participant_ids=cohort.participant_ids,
        )
        return StudyData(cohort, smoothed, self.baseline_data.subset(cohort, rows))

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
    return StudyData(cohort, smoothed, BaselineData(cohort, values))
