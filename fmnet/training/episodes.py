"""Simulated cohorts without end: backgrounds, and group differences planted into them.

All is made in torch on the device that asks for it. An episode is a small training cohort under one
labeling and further participants, of whom it is known what a patient's map would look like.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from fmnet.networks.scale_space import FWHM_PER_SD, gaussian_weights, smooth_axes

Range = tuple[float, float]
Shape3 = tuple[int, int, int]


def uniform(generator: torch.Generator, span: Range, *size: int) -> torch.Tensor:
    """Draw evenly from a range."""
    drawn = torch.rand(size, generator=generator, device=generator.device)
    return span[0] + (span[1] - span[0]) * drawn


def log_uniform(generator: torch.Generator, span: Range, *size: int) -> torch.Tensor:
    """Draw evenly on a logarithmic scale."""
    low, high = torch.tensor(span).log().tolist()
    return uniform(generator, (low, high), *size).exp()


def normal(generator: torch.Generator, *size: int) -> torch.Tensor:
    """Draw standard normal numbers."""
    return torch.randn(size, generator=generator, device=generator.device)


@dataclass(frozen=True)
class BackgroundPrior:
    """What maps of participants without any group difference may be like.

    Each participant's map is a sum of Gaussian fields of three widths and of a few patterns that
    all share, in other amounts; variance differs over the brain and over participants.

    Parameters
    ----------
    fwhm_mm : sequence of (float, float)
        Range of the width of each field; narrower than a voxel is white noise.
    concentration : float
        Of the Dirichlet distribution of the fields' fractions of the variance.
    n_patterns : (int, int)
        Of shared patterns.
    pattern_fwhm_mm : (float, float)
        Range of their smoothness.
    pattern_fraction : (float, float)
        Of the variance that is theirs.
    log_sd : (float, float)
        Range of the standard deviation, over the brain, of the logarithm of voxels' SD.
    log_scale : (float, float)
        The same over participants, of the logarithm of their maps' size.
    local_sd : (float, float)
        Range of how much a participant's variance differs from place to place, on the same scale.
    missing : float
        How often part of the brain was not covered.
    """

    fwhm_mm: Sequence[Range] = ((3.0, 12.0), (10.0, 26.0), (22.0, 90.0))
    concentration: float = 1.0
    n_patterns: tuple[int, int] = (1, 24)
    pattern_fwhm_mm: Range = (8.0, 60.0)
    pattern_fraction: Range = (0.03, 0.5)
    log_sd: Range = (0.0, 0.7)
    log_scale: Range = (0.0, 0.5)
    local_sd: Range = (0.0, 0.4)
    missing: float = 0.3


@dataclass(frozen=True)
class EffectPrior:
    """In which ways patients may differ.

    Parameters
    ----------
    kinds : dict of str to float
        How often: ``aligned`` (the same regions in everybody), ``shifted`` (all regions moved
        together, in another direction for each patient), ``moved`` (each region for itself),
        ``varied`` (another part of the regions in each patient), ``widespread`` (a field all over
        the brain), ``mixed`` (some of all).
    n_regions : (int, int)
    radius_mm : (float, float)
    amplitude : (float, float)
        Of regions, in SD of a voxel of the grid, evenly on a logarithmic scale.
    shift_mm : (float, float)
        Root mean square length of shifts.
    fraction_shown : (float, float)
        Of regions in one patient where they vary.
    field_fwhm_mm, field_amplitude : (float, float)
        Of widespread differences.
    along_maps : (float, float)
        How much of these lies along differences between participants; below 0 none does.
    """

    kinds: dict[str, float] = field(
        default_factory=lambda: {
            "aligned": 0.12, "shifted": 0.25, "moved": 0.12, "varied": 0.2, "widespread": 0.2,
            "mixed": 0.11,
        }
    )  # fmt: skip
    n_regions: tuple[int, int] = (2, 20)
    radius_mm: Range = (4.0, 15.0)
    amplitude: Range = (0.4, 2.0)
    shift_mm: Range = (3.0, 14.0)
    fraction_shown: Range = (0.25, 0.9)
    field_fwhm_mm: Range = (4.0, 60.0)
    field_amplitude: Range = (0.05, 0.35)
    along_maps: Range = (-0.6, 0.9)


class Episodes(NamedTuple):
    """E cohorts of the same N participants, of whom others are patients each time.

    Parameters
    ----------
    support, query : Tensor, shapes (N, X, Y, Z) and (M, X, Y, Z)
        Maps of training participants and of others, without any difference.
    labels : Tensor, shape (E, N)
        0 or 1; equally many are patients in all E.
    shown : Tensor, shape (E, patients, X, Y, Z)
        What is added to the maps of the patients, in the order of the training participants.
    unseen : Tensor, shape (E, K, X, Y, Z)
        What other patients would show.
    mask : Tensor, shape (X, Y, Z)
    kinds : list of str
        Of the differences.
    """

    support: torch.Tensor
    query: torch.Tensor
    labels: torch.Tensor
    shown: torch.Tensor
    unseen: torch.Tensor
    mask: torch.Tensor
    kinds: list[str]


@dataclass(eq=False)
class EpisodeMaker:
    """Makes episodes on the grid of a mask.

    Parameters
    ----------
    mask : Tensor, shape (X, Y, Z)
        On the device that works.
    voxel_size_mm : float
    background : BackgroundPrior
    effect : EffectPrior
    n_support : (int, int)
        Range of the number of training participants, evenly on a logarithmic scale.
    n_query : int
    n_together : int
        Episodes with the same background, E.
    """

    mask: torch.Tensor
    voxel_size_mm: float = 8.0
    background: BackgroundPrior = field(default_factory=BackgroundPrior)
    effect: EffectPrior = field(default_factory=EffectPrior)
    n_support: tuple[int, int] = (20, 110)
    n_query: int = 24
    n_unseen: int = 12
    n_together: int = 4

    def draw(self, generator: torch.Generator) -> Episodes:
        """Make one background, and several differences between its participants."""
        n = round(float(log_uniform(generator, self.n_support)))
        mask = self._coverage(generator)
        maps, sd = self.draw_background(n + self.n_query, mask, generator)
        n_one = round(n * float(uniform(generator, (0.38, 0.62))))
        order = torch.rand(self.n_together, n, generator=generator, device=generator.device)
        labels = (order.argsort(1) < n_one).long()
        names, weights = zip(*self.effect.kinds.items(), strict=True)
        chances = torch.tensor(weights, dtype=torch.float32, device=generator.device)
        chosen = torch.multinomial(chances, self.n_together, True, generator=generator)
        kinds = [names[number] for number in chosen.tolist()]
        own = (maps - maps.mean(0)) / sd.clamp(min=1e-6)
        n_shown = n_one + self.n_unseen
        drawn = [self.draw_effects(kind, n_shown, generator, own) for kind in kinds]
        planted = torch.stack(drawn) * (sd * mask)
        shown, unseen = torch.split(planted, [n_one, self.n_unseen], dim=1)
        return Episodes(maps[:n], maps[n:], labels, shown, unseen, mask, kinds)

    def _coverage(self, generator: torch.Generator) -> torch.Tensor:
        """Leave out a slab at the top, the bottom, the front or the back now and then."""
        mask = self.mask.clone()
        if float(uniform(generator, (0, 1))) < self.background.missing:
            axis = int(torch.randint(1, 3, (), generator=generator, device=generator.device))
            depth = int(uniform(generator, (1, 5)))
            start = 0 if float(uniform(generator, (0, 1))) < 0.5 else mask.shape[axis] - depth
            mask.narrow(axis, start, depth).zero_()
        return mask

    def draw_background(
        self, n: int, mask: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw n maps without a difference, (n, X, Y, Z), and the voxels' SD, (X, Y, Z)."""
        prior = self.background
        parts = -uniform(generator, (1e-6, 1.0), len(prior.fwhm_mm)).log()
        parts = parts ** (1 / prior.concentration)
        parts = parts / parts.sum()
        maps = torch.zeros(n, *mask.shape, device=mask.device)
        for fraction, span in zip(parts.tolist(), prior.fwhm_mm, strict=True):
            if fraction < 0.01:
                continue
            maps += self._fields(n, float(log_uniform(generator, span)), generator) * fraction**0.5
        local = float(uniform(generator, prior.local_sd))
        if local > 0.05:
            width = float(uniform(generator, (20, 60)))
            maps *= (self._fields(n, width, generator) * local).exp()
        low, high = prior.n_patterns
        rank = int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))
        share = float(uniform(generator, prior.pattern_fraction))
        patterns = self._patterns(rank, generator)
        sizes = uniform(generator, (0.05, 1.0), rank)
        sizes = (sizes / sizes.square().sum().sqrt())[None]
        freedom = float(log_uniform(generator, (3, 30)))
        loads = normal(generator, n, rank)
        tails = torch.ones(n, rank, device=mask.device)
        for _ in range(2):  # heavier tails, through the generator
            tails = tails * (normal(generator, n, rank) / freedom**0.5).exp()
        loads = loads * tails * sizes
        is_site = uniform(generator, (0, 1), rank) < 0.1
        loads = torch.where(is_site, loads.sign() * sizes, loads)
        shared = (loads @ patterns.flatten(1)).view(n, *mask.shape)
        maps = maps * (1 - share) ** 0.5 + shared * share**0.5
        scale = float(uniform(generator, prior.log_scale))
        maps = maps * (normal(generator, n, 1, 1, 1) * scale).exp()
        spread = float(uniform(generator, prior.log_sd))
        width = float(log_uniform(generator, (10, 60)))
        sd = (self._fields(1, width, generator)[0] * spread).exp()
        maps = maps * sd * mask
        inside = mask.bool()
        actual = torch.zeros_like(sd)
        actual[inside] = maps[:, inside].std(0)
        return maps, actual

    def _fields(self, n: int, fwhm_mm: float, generator: torch.Generator) -> torch.Tensor:
        """Draw Gaussian fields with a variance of 1 at every voxel: (n, X, Y, Z)."""
        noise = normal(generator, n, *self.mask.shape)
        sigma = torch.tensor(fwhm_mm / self.voxel_size_mm / FWHM_PER_SD, device=noise.device)
        if sigma < 0.25:
            return noise
        axes = []
        for size in self.mask.shape:
            weights = gaussian_weights(size, sigma)
            axes.append(weights / weights.square().sum(0, keepdim=True).sqrt())
        return smooth_axes(noise, *axes)

    def _patterns(self, rank: int, generator: torch.Generator) -> torch.Tensor:
        """Draw shared patterns, some smooth and some sparse: (rank, X, Y, Z)."""
        patterns = []
        for number in range(0, rank, 4):
            width = float(log_uniform(generator, self.background.pattern_fwhm_mm))
            drawn = self._fields(min(4, rank - number), width, generator)
            power = float(uniform(generator, (1.0, 3.0)))
            drawn = drawn.sign() * drawn.abs() ** power
            patterns.append(drawn / drawn.flatten(1).std(1)[:, None, None, None])
        return torch.cat(patterns)

    def draw_effects(
        self, kind: str, n: int, generator: torch.Generator, maps: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Draw what n patients show, in SD of each voxel: (n, X, Y, Z).

        Widespread differences may lie along those of `maps`, (P, X, Y, Z), as they do where a
        condition changes what differs between healthy people already.
        """
        if kind == "widespread":
            return self._draw_field(n, generator, maps)
        if kind == "mixed":
            effects = self._draw_regions(n, generator, is_varied=True, is_moved=True)
            return effects + self._draw_field(n, generator, maps) * 0.7
        return self._draw_regions(
            n,
            generator,
            is_varied=kind == "varied",
            is_shifted=kind == "shifted",
            is_moved=kind == "moved",
        )

    def _draw_field(
        self, n: int, generator: torch.Generator, maps: torch.Tensor | None
    ) -> torch.Tensor:
        inside = self.mask.bool()
        width = float(log_uniform(generator, self.effect.field_fwhm_mm))
        one = self._fields(1, width, generator)
        along = float(uniform(generator, self.effect.along_maps))
        if maps is not None and along > 0:
            mixed = torch.einsum("p,pxyz->xyz", normal(generator, len(maps)), maps)[None]
            mixed = mixed / mixed[:, inside].square().mean().sqrt().clamp(min=1e-6)
            one = one * (1 - along) + mixed * along
        power = float(uniform(generator, (0.7, 2.0)))
        one = one.sign() * one.abs() ** power
        one = one / one[:, inside].square().mean().sqrt()
        size = float(log_uniform(generator, self.effect.field_amplitude))
        strength = 1 + 0.3 * normal(generator, n, 1, 1, 1)
        return one * size * strength

    def _draw_regions(
        self,
        n: int,
        generator: torch.Generator,
        is_varied: bool = False,
        is_shifted: bool = False,
        is_moved: bool = False,
    ) -> torch.Tensor:
        """Draw smooth blocks and balls, (n, X, Y, Z), as products of a profile along each axis."""
        prior, device = self.effect, self.mask.device
        places = self._draw_places(generator)
        count = len(places)
        jitter = uniform(generator, (-0.5, 0.5), count, 3)
        centres = (places + jitter) * self.voxel_size_mm  # (R, 3)
        radius = log_uniform(generator, prior.radius_mm, count, 1) * torch.ones(1, 3, device=device)
        if float(uniform(generator, (0, 1))) < 0.3:  # flat or long ones
            radius = radius * (0.35 * normal(generator, count, 3)).exp()
        power = float(uniform(generator, (2.0, 5.0)))
        moves = torch.zeros(n, 1, 3, device=device)
        if is_shifted or is_moved:
            length = float(uniform(generator, prior.shift_mm)) / 3**0.5
            moves = length * normal(generator, n, count if is_moved else 1, 3)
        signed = float(uniform(generator, (0, 1))) < 0.75
        shown = self._draw_strengths(n, count, generator, signed, is_varied)
        profiles = []
        for axis, length in enumerate(self.mask.shape):
            place = torch.arange(length, device=device) * self.voxel_size_mm
            away = place - (centres[:, axis, None] + moves[..., axis, None])  # (n, R, length)
            profiles.append((-0.7 * (away.abs() / radius[:, axis, None]) ** power).exp())
        x, y, z = (one.expand(n, *one.shape[1:]) for one in profiles)
        plane = (x[..., None] * y[:, :, None]).flatten(2)  # (n, R, X * Y)
        effects = (plane * shown[..., None]).mT @ z
        return effects.view(n, *self.mask.shape)

    def _draw_places(self, generator: torch.Generator) -> torch.Tensor:
        """Choose voxels for a number of regions: (R, 3)."""
        low, high = self.effect.n_regions
        count = int(log_uniform(generator, (low, high + 1)))
        places = self.mask.nonzero()
        return places[
            torch.randint(len(places), (count,), generator=generator, device=generator.device)
        ]

    def _draw_strengths(
        self, n: int, count: int, generator: torch.Generator, signed: bool, is_varied: bool
    ) -> torch.Tensor:
        """Draw how strongly each patient shows each region, in SD: (n, R)."""
        size = float(log_uniform(generator, self.effect.amplitude))
        strength = size * uniform(generator, (0.6, 1.4), count)
        if signed:
            strength = strength * normal(generator, count).sign()
        shown = strength.expand(n, count)
        if is_varied:
            chance = float(uniform(generator, self.effect.fraction_shown))
            shown = shown * (uniform(generator, (0, 1), n, count) < chance)
        return shown
