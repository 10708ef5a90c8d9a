"""Weights of features from few scans: whitening, and t-values of what they are to tell.

That is one of two groups, with labels 0 or 1 of an integer type, or a numeric response, of a
floating-point type, with NaN where it isn't known.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

#: Smallest standard deviation of a feature, as a fraction of the median one.
SD_FLOOR = 0.1
#: Added to the variance of each group, in units of a feature's variance: five may be alike.
VARIANCE_FLOOR = 0.02
#: A t-value whose weight is 1, whatever the power; it only keeps numbers in range.
USUAL_T = 5.0


@dataclass(frozen=True, eq=False)
class Whitening:
    """Standardise features and tone down broad patterns, in which all participants differ.

    ``z = (f - mean) * scale``, then ``(z - (z @ axes * shrink) @ axes.T) * last``.

    Parameters
    ----------
    mean, scale, last : Tensor, shape (V,)
        Of each feature; scale 0 leaves a feature out.
    axes : Tensor, shape (V, A)
        Principal axes of the training scans.
    shrink : Tensor, shape (A,)
        Fraction of each axis that is taken away.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    axes: torch.Tensor
    shrink: torch.Tensor
    last: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Whiten features, (N, V)."""
        z = (features - self.mean) * self.scale
        return (z - (z @ self.axes * self.shrink) @ self.axes.T) * self.last

    def unwhitened(self, weight: torch.Tensor) -> torch.Tensor:
        """Turn weights of whitened features, (V,), into weights of features, up to a constant."""
        u = weight * self.last
        return (u - self.axes @ (self.shrink * (self.axes.T @ u))) * self.scale


@dataclass(frozen=True, eq=False)
class ScanWhitening:
    """The same as `Whitening` with all axes, which are kept as combinations of the training scans.

    For a fit that is over once weights are set: axes by feature would take as long as all else.

    Parameters
    ----------
    mean, scale, last : Tensor, shape (V,)
        See `Whitening`.
    plain : Tensor, shape (N, V)
        Standardised training scans.
    dual : Tensor, shape (N, N)
        ``plain.T @ dual @ plain`` is what the axes take away.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    last: torch.Tensor
    plain: torch.Tensor
    dual: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Whiten features, (N, V)."""
        return self._toned_down((features - self.mean) * self.scale) * self.last

    def unwhitened(self, weight: torch.Tensor) -> torch.Tensor:
        """Turn weights of whitened features, (V,), into weights of features, up to a constant."""
        return self._toned_down(weight * self.last) * self.scale

    def _toned_down(self, u: torch.Tensor) -> torch.Tensor:
        if not self.dual.any():
            return u
        return u - u @ self.plain.T @ self.dual @ self.plain


class _Axes(NamedTuple):
    """Principal axes of scans: of A of them the variance, in scans (N, A), and what is taken."""

    variance: torch.Tensor
    across: torch.Tensor
    shrink: torch.Tensor


def fit_whitening(
    features: torch.Tensor, strength: float, n_axes: int
) -> tuple[Whitening, torch.Tensor]:
    """Fit means, standard deviations and principal axes on training scans, without labels.

    Along an axis of variance ``a`` the features are multiplied by ``sqrt(m / (m + a))``, where
    ``m`` is the mean variance of all axes divided by `strength`.

    Parameters
    ----------
    features : Tensor, shape (N, V)
        Of the training scans; they are returned whitened beside the whitening.
    strength : float
        0 for none.
    n_axes : int
        At most so many axes, A; those that N scans don't have are 0.
    """
    mean, scale, plain = _standardise(features)
    axes, shrink = plain.new_zeros(features.shape[1], n_axes), plain.new_zeros(n_axes)
    found = _axes(plain, strength, n_axes)
    kept = len(found.variance)
    axes[:, :kept] = plain.T @ (found.across / found.variance.sqrt()).float()
    shrink[:kept] = found.shrink.float()
    last, z = _last(plain, found)
    return Whitening(mean, scale, axes, shrink, last), z


def fit_scan_whitening(
    features: torch.Tensor, strength: float
) -> tuple[ScanWhitening, torch.Tensor]:
    """Do the same with as many axes as there are scans. See `fit_whitening`."""
    mean, scale, plain = _standardise(features)
    found = _axes(plain, strength, len(features))
    dual = (found.across * (found.shrink / found.variance) @ found.across.T).float()
    last, z = _last(plain, found)
    return ScanWhitening(mean, scale, last, plain, dual), z


def _standardise(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give mean and factor of each feature, and the features standardised."""
    mean = features.mean(0)
    sd = _variance(features, mean).sqrt()
    known = sd[sd > 0]
    floor = SD_FLOOR * known.median() if len(known) else sd.new_ones(())
    scale = torch.where(sd > 0, 1 / torch.maximum(sd, floor), 0)
    return mean, scale, (features - mean).mul_(scale)


def _axes(plain: torch.Tensor, strength: float, n_axes: int) -> _Axes:
    """Find the largest axes, in double precision; none where nothing is toned down."""
    n = len(plain)
    if strength <= 0:
        none = plain.new_zeros(0, dtype=torch.float64)
        return _Axes(none, none.new_zeros(n, 0), none)
    variance, across = torch.linalg.eigh((plain @ plain.T).double())
    kept = min(n_axes, int((variance > variance.max() * 1e-6).sum()))
    variance, across = variance.flip(0)[:kept], across.flip(1)[:, :kept]
    typical = variance.sum() / max(n - 1, 1) / strength
    return _Axes(variance, across, 1 - (typical / (typical + variance)).sqrt())


def _last(plain: torch.Tensor, axes: _Axes) -> tuple[torch.Tensor, torch.Tensor]:
    """Tone down scans and give all features one spread again: the factor of each, and scans."""
    z = plain
    if len(axes.variance):
        # what the axes would take away from the scans that they come from, in fewer operations
        z = plain - (axes.across * axes.shrink @ axes.across.T).float() @ plain
    sd = _variance(z, z.mean(0)).sqrt()
    last = torch.where(sd > 0, 1 / sd.clamp(min=1e-6), 0)
    return last, z * last


class Slopes(NamedTuple):
    """What makes slopes and their errors of features, for numeric responses, (..., N).

    With features centred, ``weights @ features`` is how much they rise with the response. Scans
    whose response isn't known weigh nothing, but count where the spread of features is estimated.
    Of two equal groups all is what Welch's t is made of.

    Parameters
    ----------
    weights : Tensor, shape (..., N)
    plain : Tensor, shape (..., 1)
        Factor from a feature's variance that is left to its squared error: 1 over the sum of
        squares of the response.
    curved : Tensor, shape (..., 1)
        Factor from its squared slope to what that takes from the squared error.
    """

    weights: torch.Tensor
    plain: torch.Tensor
    curved: torch.Tensor


def read_responses(responses: torch.Tensor) -> Slopes:
    """Prepare numeric responses, (..., N), NaN where not known."""
    n_known = responses.isfinite().sum(-1, keepdim=True).clamp(min=1)
    away = (responses - responses.nanmean(-1, keepdim=True)).nan_to_num(0)
    squares = away.square().sum(-1, keepdim=True).clamp(min=1e-12)
    return Slopes(away / squares, 1 / squares, 1 / n_known)


def t_values(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compare features, (N, V), between two groups, or with a response, (N,): t of each, (V,).

    Welch's t of groups, and t of the slope of a regression on the response.
    """
    if labels.is_floating_point():
        weights, plain, curved = read_responses(labels)
        centred = features - features.mean(0)
        slope = weights @ centred
        variance = centred.square_().mean(0).clamp_(min=0)
        error = (plain * variance - curved * slope.square()).clamp_(min=0)
        return slope / (error + plain * VARIANCE_FLOOR).sqrt()
    groups = features[labels == 1], features[labels == 0]
    one, other = (group.mean(0) for group in groups)
    error = torch.zeros_like(one)
    for group, mean in zip(groups, (one, other), strict=True):
        error = error + (_variance(group, mean) + VARIANCE_FLOOR) / len(group)
    return (one - other) / error.sqrt()


def product_t_values(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compare each product of two features, (N, L), with labels: (L, L), 0 on the diagonal.

    What `t_values` would give for all products, without making them.
    """
    n_features = features.shape[1]
    if labels.is_floating_point():
        weights, plain, curved = read_responses(labels)
        square = features**2
        mean = features.T @ features / len(features)
        variance = torch.addmm(mean.square(), square.T, square, beta=-1, alpha=1 / len(features))
        slope = (features * weights[:, None]).T @ features
        error = (plain * variance).sub_(curved * slope.square()).clamp_(min=0)
        of_slope: torch.Tensor = slope.mul_(error.add_(plain * VARIANCE_FLOOR).rsqrt_())
        return of_slope.fill_diagonal_(0)
    difference, error = features.new_zeros(2, n_features, n_features)
    for group, sign in ((features[labels == 1], 1), (features[labels == 0], -1)):
        mean = group.T @ group / len(group)
        difference.add_(mean, alpha=sign)
        square = group**2
        variance = torch.addmm(mean.square_(), square.T, square, beta=-1, alpha=1 / len(group))
        error.add_(variance.clamp_(min=0).add_(VARIANCE_FLOOR), alpha=1 / len(group))
    t: torch.Tensor = difference.mul_(error.rsqrt_()).fill_diagonal_(0)
    return t


def weigh(t: torch.Tensor, power: float) -> torch.Tensor:
    """Weigh features by their t-values: sign(t) |t| ** power, scaled to a norm of 1.

    With a power of 1 all count, as they do for a linear support vector machine; a larger one
    relies on the few that stand out, as a prior of few and focal effects does.
    """
    weight = raise_t(t, power)
    weight /= torch.linalg.vector_norm(weight).clamp(min=1e-12)
    return weight


def raise_t(t: torch.Tensor, power: float) -> torch.Tensor:
    """Raise t-values to a power, signs kept; those of `USUAL_T` come to 1."""
    if power in (1, 3):  # odd ones keep signs by themselves, and these are fast
        return (t / USUAL_T) ** power
    raised: torch.Tensor = t.sign() * (t.abs() / USUAL_T) ** power
    return raised


def _variance(features: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Variance over scans, which `torch.var` takes three times as long for along this axis."""
    return (features - mean).square_().mean(0)
