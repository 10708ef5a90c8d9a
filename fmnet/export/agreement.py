"""Whether every form of a network gives the same scores to scans read afresh from disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fmnet.data.volume import FloatArray
from fmnet.errors import ExportError, Fault, FmnetError
from fmnet.inference.bold import NewBoldScan, read_scan
from fmnet.inference.bundle import Bundle
from fmnet.inference.predict import NewScan, read_values
from fmnet.inference.preparation import Preparation
from fmnet.networks.backbones import ScoreNetwork

Form = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences between scores, over real scans.

    Parameters
    ----------
    n_scans : int
        Scans compared.
    onnx, torch_export : float
        Against the network as trained, in units of the raw score; of the largest score where that
        is beyond 1, since numbers of 32 bits have so many digits and no more.
    """

    n_scans: int
    onnx: float
    torch_export: float


def check_agreement(
    network: ScoreNetwork,
    preparation: Preparation,
    bundle: Bundle,
    scans: Sequence[NewScan | NewBoldScan],
    tolerance: float,
) -> Agreement:
    """Score scans, read afresh from disk, in every form through the whole preparation.

    Raises
    ------
    ExportError
        If two forms differ by more than `tolerance`, or a scan can't be read.
    """
    program = torch.export.load(bundle.folder / "model.pt2").module()
    onnx, exported, size = [], [], 1.0
    for scan in scans:
        values = _read(bundle, scan)
        inputs = preparation.inputs(values)
        eager = _score(network, inputs)
        size = max(size, abs(eager))
        exported.append(abs(eager - _score(program, inputs)))
        onnx.append(abs(eager - bundle.score_scan(values)))
    agreement = Agreement(len(scans), _largest(onnx) / size, _largest(exported) / size)
    if not max(agreement.onnx, agreement.torch_export) <= tolerance:
        raise ExportError(
            Fault(
                str(bundle.folder.parent),
                f"scores that differ by {agreement.onnx:.2g} (ONNX Runtime) and "
                f"{agreement.torch_export:.2g} (torch.export) from the network as trained",
                f"at most {tolerance:g} over {len(scans)} scans",
                "choose another network, or report this with the versions in manifest.json",
            )
        )
    return agreement


def _read(bundle: Bundle, scan: NewScan | NewBoldScan) -> FloatArray:
    try:
        if isinstance(scan, NewScan):
            return read_values(bundle, scan)
        return read_scan(bundle, scan).values
    except FmnetError as error:
        raise ExportError(error.faults) from error


def _score(form: Form, inputs: FloatArray) -> float:
    """Score the inputs of one scan one by one, as a bundle does."""
    with torch.no_grad():
        return float(np.mean([form(torch.from_numpy(one[None])).item() for one in inputs]))


def _largest(gaps: list[float]) -> float:
    return float(np.max(gaps))  # unlike max, NaN where one is
