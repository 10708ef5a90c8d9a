"""What networks of time series take for one run: seconds and memory, in training and in use."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.fresh_process import measure_alone
from benchmarks.race import write_results
from benchmarks.reading import ThreeCounts
from fmnet.networks.backbones import NetworkBuilder, ScoreNetwork
from fmnet.networks.rebuild import write_network_files
from fmnet.types import Count, Several

#: Bytes of a number.
WIDTH = 4


@dataclass(frozen=True)
class StemCosts:
    """Score one run of noise, learn from it, and score it in ONNX Runtime, each alone.

    Weights are random: what is computed takes as long.

    Parameters
    ----------
    networks : dict
        By name, builders of networks that read time series.
    shape
        Voxels along x, y and z.
    n_volumes : list of int
        Lengths of the run.
    n_rounds : int
        How often each is timed; the median counts, and the largest memory.
    """

    networks: dict[str, NetworkBuilder]
    shape: ThreeCounts = (46, 55, 46)
    n_volumes: Sequence[Several] = (200, 600)
    n_rounds: Count = 3

    def run(self, out: Path) -> list[str]:
        """Measure everything; a table in `out`, and in words."""
        x, y, z = self.shape
        rows = []
        with tempfile.TemporaryDirectory(prefix="fmnet-stems-") as place:
            for name, build in tqdm(self.networks.items(), desc="networks", leave=False):
                folder = Path(place) / name
                folder.mkdir()
                network = build((2, x, y, z))
                write_network_files(network.eval(), (2, x, y, z), folder)
                for length in self.n_volumes:
                    rows += self._measure(name, network, folder / "model.onnx", length)
        tables = {"stem_costs": pd.DataFrame(rows)}
        return write_results(out, tables, [], {"settings": str(asdict(self))})

    def _measure(
        self, name: str, network: ScoreNetwork, onnx: Path, length: int
    ) -> list[dict[str, str | int | float]]:
        ways: dict[str, tuple[Callable[..., None], Any]] = {
            "score": (score_run, network),
            "learn from": (learn_from_run, network),
            "score in ONNX Runtime": (score_in_onnx, onnx),
        }
        rows: list[dict[str, str | int | float]] = []
        for way, (work, model) in ways.items():
            costs = [measure_alone(work, model, length, self.shape) for _ in range(self.n_rounds)]
            rows.append(
                {
                    "network": name,
                    "volumes": length,
                    "way": way,
                    "seconds": float(np.median([cost.seconds for cost in costs])),
                    "peak_mb": max(cost.peak_mb for cost in costs),
                    "run_mb": WIDTH * length * float(np.prod(self.shape)) / 1e6,
                }
            )
        return rows


def draw_run(length: int, shape: Sequence[int]) -> torch.Tensor:
    """Draw a run of noise: (1, T, X, Y, Z)."""
    source = torch.Generator().manual_seed(0)
    return torch.randn((1, length, *shape), generator=source)


def score_run(network: ScoreNetwork, length: int, shape: Sequence[int]) -> None:
    """Score a run with torch, on one processor."""
    torch.set_num_threads(1)
    with torch.no_grad():
        network.eval()(draw_run(length, shape))


def learn_from_run(network: ScoreNetwork, length: int, shape: Sequence[int]) -> None:
    """Score a run and find the gradient by every weight, on one processor."""
    torch.set_num_threads(1)
    network.train()(draw_run(length, shape)).sum().backward()


def score_in_onnx(model: Path, length: int, shape: Sequence[int]) -> None:
    """Score a run as a bundle does, on one processor, loading the program included."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(["score"], {"series": draw_run(length, shape).numpy()})
