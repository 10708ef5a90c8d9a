"""Features of a scan: numbers that a network makes on its way to the score, in which scans differ.

They say what a scan is like, and not which group it resembles: new scans are held against those of
the training people by them. One half says how far the maps that a network reads are from 0, the
mean of the training scans, in each part of the grid. The other half is what the network makes of
them: of one that filters maps the same of each filter, which no label has shaped; of others what
the last layer reads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, prod

import torch
from torch import nn
from torch.nn.functional import pad

#: Most features of a network: cohorts have fewer people.
MAX_FEATURES = 256
#: Least mean square of a part of the grid, in units of standardised maps: what lies outside the
#: brain has none, and no logarithm.
LEAST_SQUARE = 1e-4


@contextmanager
def watched_features(
    backbone: nn.Module, image: torch.Tensor, n_outputs: int
) -> Iterator[Callable[[], torch.Tensor]]:
    """Watch a backbone while it computes its outputs, and give the scans' features afterwards.

    Parameters
    ----------
    backbone : Module
        From scans to ``n_outputs`` outputs each.
    image : Tensor, shape (B, C, X, Y, Z)
        What it is applied to.
    n_outputs : int
        By which its last layer is known.

    Yields
    ------
    callable
        Gives the features, (B, F), once the backbone was applied.
    """
    seen: dict[str, torch.Tensor] = {"maps": image}
    if getattr(backbone, "window_volumes", None) is not None:  # of series, whatever their length
        seen["maps"] = image.square().mean(1, keepdim=True).sqrt()
    handles = []
    for module in backbone.modules():
        if shown := getattr(module, "shows", ""):
            keep = _keeping(seen, shown)
            handles.append(module.register_forward_hook(lambda _, __, one, keep=keep: keep(one)))
    last = [
        one
        for one in backbone.modules()
        if isinstance(one, nn.Linear) and one.out_features == n_outputs
    ]
    if last:
        keep = _keeping(seen, "read last")
        handles.append(last[-1].register_forward_pre_hook(lambda _, inputs: keep(inputs[0])))

    def features() -> torch.Tensor:
        maps, bands, read_last = (seen.get(one) for one in ("maps", "bands", "read last"))
        assert maps is not None
        half = MAX_FEATURES // 2
        if bands is not None:
            found = [local_energies(bands.flatten(1, 2), half), local_energies(maps, half)]
        elif read_last is not None and read_last[0].numel() != maps[0].numel():
            found = [in_groups(read_last.flatten(1), half), local_energies(maps, half)]
        else:  # one weight for each voxel
            found = [local_energies(maps, MAX_FEATURES)]
        every = torch.cat(found, 1)
        n_looks: int = getattr(backbone, "n_looks", 1)
        return every if n_looks == 1 else every.view(-1, n_looks, every.shape[1]).mean(1)

    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def _keeping(seen: dict[str, torch.Tensor], name: str) -> Callable[[torch.Tensor], None]:
    return lambda value: seen.update({name: value})


def local_energies(maps: torch.Tensor, most: int) -> torch.Tensor:
    """Compute how far maps are from 0 in each part of the grid: (B, M, X, Y, Z) to (B, F).

    That is the logarithm of their root mean square in cubes of voxels, as small as `most` features
    allow.
    """
    n_maps, sizes = maps.shape[1], [int(size) for size in maps.shape[2:]]

    def n_cubes(edge: int) -> int:
        return prod(ceil(size / edge) for size in sizes)

    edges = range(1, max(sizes) + 1)
    edge = next((one for one in edges if n_maps * n_cubes(one) <= most), max(sizes))
    missing = [-size % edge for size in reversed(sizes)]
    filled = pad(maps, [side for one in missing for side in (one // 2, one - one // 2)])
    counts = [ceil(size / edge) for size in sizes]
    parts = filled.reshape(-1, n_maps, counts[0], edge, counts[1], edge, counts[2], edge)
    square = parts.square().mean((3, 5, 7)).flatten(1)
    return in_groups(square.clamp(min=LEAST_SQUARE).log() / 2, most)


def in_groups(values: torch.Tensor, most: int) -> torch.Tensor:
    """Average neighbours, so that `most` at most are left: (B, N) to (B, F)."""
    n_values = values.shape[1]
    if n_values <= most:
        return values
    size = ceil(n_values / most)
    filled = pad(values, [0, -n_values % size])
    return filled.reshape(-1, ceil(n_values / size), size).mean(2)
