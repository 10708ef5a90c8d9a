"""Kinds of maps of models that learned all people of a cohort, and of the groups themselves."""
from dataclasses import dataclass
from typing import Protocol
import numpy as np
from benchmarks.power.planted import PlantedCohort
from fmnet.data.volume import FloatArray
from fmnet.data.resample import smooth_values
class MapMaker(Protocol):
    """Whatever makes maps of a cohort's voxels."""

    def make(self, planted: PlantedCohort) -> dict[str, FloatArray]:
        """Make maps by kind, each (C, V)."""
        ...
class DifferenceMaps: pass
class LinearMaps: pass
class NetworkMaps: pass
