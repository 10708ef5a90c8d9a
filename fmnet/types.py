"""Ranges that settings have to lie in; the configuration check reads them off signatures."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Len, MinLen

#: Name of the network among the models of a study.
NETWORK = "network"

#: How many of something: 1 or more.
Count = Annotated[int, Ge(1)]
#: How many of something that may be left out.
NonNegativeCount = Annotated[int, Ge(0)]
#: How many processes; -1 for one per processor.
Jobs = Literal[-1] | Count
#: How many parts something is split into, or how many members a group needs: 2 or more.
Several = Annotated[int, Ge(2)]
#: What random numbers start from.
Seed = Annotated[int, Interval(ge=0, lt=2**31)]
#: A length, width or strength that may be none.
NonNegative = Annotated[float, Ge(0)]
#: A rate or width that has to be there.
Positive = Annotated[float, Gt(0)]
#: A share or probability.
Fraction = Annotated[float, Interval(ge=0, le=1)]
#: A share or probability that may not be the whole.
PartialShare = Annotated[float, Interval(ge=0, lt=1)]
#: Edge length of template voxels in mm.
VoxelSize = Annotated[int, Interval(ge=1, le=12)]
#: At least one count.
Counts = Annotated[Sequence[Count], MinLen(1)]
#: How many devices, or which of them by number.
Devices = Count | Annotated[list[NonNegativeCount], MinLen(1)]
#: One count for each of the four stages of a residual network.
FourCounts = Annotated[Sequence[Count], Len(4, 4)]
#: What to choose a smoothing width from, or another strength that may be none.
NonNegatives = Annotated[Sequence[NonNegative], MinLen(1)]
#: What to choose a penalty from.
Positives = Annotated[Sequence[Positive], MinLen(1)]
#: What to choose a share from, which may be the whole but not nothing.
Shares = Annotated[Sequence[Annotated[float, Interval(gt=0, le=1)]], MinLen(1)]
#: Two widths.
Band = Annotated[Sequence[NonNegative], Len(2, 2)]
#: At least one pair of widths.
Bands = Annotated[Sequence[Band], MinLen(1)]
#: What a model is: a network trained by gradients on the cohort, one whose signature a CNN that was
#: pretrained elsewhere writes without a gradient step on the cohort, or one fitted in closed form;
#: a linear model of voxels or of connections, one that sees no region of the brain, one that reads
#: the condition's own symptoms, one that knows nothing, or anything else.
ModelKind = Literal[
    "gradient", "pretrained", "closed form",
    "linear", "connectivity", "shortcut", "symptoms", "chance", "other",
]  # fmt: skip
