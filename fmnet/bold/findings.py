"""Kinds of faults, so that six hundred of one kind can be told in one line."""

from dataclasses import dataclass, replace
from enum import StrEnum

from fmnet.data.image_files import POINTER
from fmnet.errors import Fault


class Kind(StrEnum):
    """What a fault is about; the value is its headline in a report, in the order of reports."""

    POINTER = "images without content (DataLad pointers)"
    UNREADABLE = "images that can't be read"
    NO_TABLE = "no usable participants.tsv"
    NOT_IN_TABLE = "people with images but without a row in participants.tsv"
    NO_IMAGES = "people in participants.tsv without images"
    TWICE_IN_TABLE = "people with several rows in participants.tsv"
    NUMBERS = "cells of participants.tsv that are no numbers, or stand for a missing one"
    NO_ANATOMY = "people without a T1w image, which fMRIPrep needs"
    NO_RUN = "people without a run that is wanted or that most people have"
    NOT_PREPROCESSED = "raw runs that fMRIPrep left nothing of"
    CHOICE = "choices that have to be made"
    UNUSABLE = "runs without a usable preprocessed image"
    REPEATED = "runs that are there more than once"
    SIDECAR = "sidecars (.json) that are missing or damaged"
    TASK_NAME = "sidecars that call a task by another name than most"
    T_R = "repetition times that are wrong, unknown or contradict the header"
    OTHER_T_R = "runs whose repetition time differs from most others of the task"
    NO_EVENTS = "task runs without events"
    EVENTS = "events that look wrong"
    MASK = "masks that are missing or don't belong to the run"
    CONFOUNDS = "confounds that are missing, damaged or of another length than the run"


@dataclass(frozen=True)
class Finding:
    """A fault and what it is about."""

    kind: Kind
    fault: Fault

    def of_person(self, participant_id: str) -> "Finding":
        """Say whose fault it is."""
        return replace(self, fault=replace(self.fault, participant_id=participant_id))


def image_finding(fault: Fault) -> Finding:
    """Tell an image that was not fetched from one that is damaged."""
    return Finding(Kind.POINTER if fault.found == POINTER else Kind.UNREADABLE, fault)
