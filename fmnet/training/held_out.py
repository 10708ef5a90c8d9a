"""Episodes for validation, with regions of another form than those that training draws."""

from dataclasses import dataclass

import torch

from fmnet.training.episodes import EpisodeMaker, log_uniform, normal, uniform


@dataclass(eq=False)
class ObliqueEpisodeMaker(EpisodeMaker):
    """Makes regions that are ellipsoids at any angle with sharp edges.

    Those of training have soft edges and axes along those of the grid.
    """

    def _draw_regions(
        self,
        n: int,
        generator: torch.Generator,
        is_varied: bool = False,
        is_shifted: bool = False,
        is_moved: bool = False,
    ) -> torch.Tensor:
        prior, device = self.effect, self.mask.device
        places = self._draw_places(generator)
        radius = log_uniform(generator, prior.radius_mm, len(places))
        shown = self._draw_strengths(n, len(places), generator, True, is_varied)
        length = float(uniform(generator, prior.shift_mm)) / 3**0.5
        together = normal(generator, n, 3) * (length if is_shifted else 0.0)
        axes = [torch.arange(size, device=device) for size in self.mask.shape]
        voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 3).float()
        effects = torch.zeros(n, len(voxels), device=device)
        for region, place in enumerate(places):
            turned = torch.linalg.qr(normal(generator, 3, 3)).Q
            stretched = turned * (0.4 * normal(generator, 3)).exp()
            moves = together + normal(generator, n, 3) * (length if is_moved else 0.0)
            away = (voxels - place) * self.voxel_size_mm
            inner = torch.cdist(moves @ stretched, away @ stretched) / radius[region]
            # the edge is a third of a voxel wide, so that small regions keep their volume
            edge = self.voxel_size_mm / 3 / radius[region]
            effects += torch.sigmoid((1 - inner) / edge * 2) * shown[:, region, None]
        return effects.view(n, *self.mask.shape)
