"""Weights for many labelings of the same scans: all that needs no labels is computed once.

Sums over groups are matrix products of labelings and features. With features centred, of which
``Q`` is the sum of squares over ``n`` scans, and ``d`` the difference of the groups' means, the
squared error of Welch's t is ``(Q / n + floor) (1 / n_1 + 1 / n_0) - c d ** 2 + u q``: ``c`` and
``u`` depend on the numbers in the groups alone, and ``u`` is 0 for equal groups, whose t-values
take one matrix product. ``q`` is the covariance of labels and squares. The t of a slope on numeric
responses has the same form, with ``u`` 0, see `fmnet.networks.feature_weighting.Slopes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch

from fmnet.networks.feature_weighting import VARIANCE_FLOOR, raise_t, read_responses

#: Numbers, labelings times features, that are computed at once: what a processor's cache holds.
BLOCK = 2**18
#: Products among which the best are sorted out, in those kept: how many a bound lets pass varies.
CANDIDATES = 2
#: Products that a bound is drawn up on.
SAMPLE = 2**14
#: Products whose largest is compared with a bound.
GROUP = 16


@dataclass(frozen=True, eq=False)
class Labelings:
    """Labels, or responses, of the same N scans in L ways, as factors of matrix products.

    Parameters
    ----------
    difference : Tensor, shape (L, N)
        What gives the difference of the groups' means, or the slope on the response.
    deviation : Tensor, shape (L, N)
        Labels less their mean; of no use for responses.
    plain, curved, uneven : Tensor, shape (L, 1)
        Factors of the squared error: of the variance, of ``d ** 2`` and of ``q``.
    """

    difference: torch.Tensor
    deviation: torch.Tensor
    plain: torch.Tensor
    curved: torch.Tensor
    uneven: torch.Tensor

    def rows(self, chosen: torch.Tensor) -> "Labelings":
        """Take some of the labelings."""
        return Labelings(*(one[chosen] for one in vars(self).values()))

    def t_values(self, features: torch.Tensor) -> torch.Tensor:
        """Compare labels with each feature, (N, V): (L, V), see `feature_weighting.t_values`."""
        centred = features - features.mean(0)
        squares = centred.square()
        d = self.difference @ centred
        error = self.plain * squares.mean(0)
        error.addcmul_(self.curved * d, d, value=-1)
        if self.uneven.any():
            error.addcmul_(self.uneven, self.deviation @ squares)
        error.clamp_(min=0).add_(VARIANCE_FLOOR * self.plain)
        t: torch.Tensor = error.rsqrt_().mul_(d)
        return t


def read_labelings(labelings: torch.Tensor) -> Labelings:
    """Prepare labels of 0 and 1, or numeric responses of a floating-point type, (L, N)."""
    if labelings.is_floating_point():
        weights, plain, curved = read_responses(labelings)
        return Labelings(weights, weights, plain, curved, torch.zeros_like(plain))
    labels = labelings.float()
    n = labels.shape[1]
    n_1 = labels.sum(1, keepdim=True)
    n_0 = n - n_1
    return Labelings(
        labels / n_1 - (1 - labels) / n_0,
        labels - n_1 / n,
        1 / n_1 + 1 / n_0,
        (n_0 / n).square() / n_1 + (n_1 / n).square() / n_0,
        n_1**-2 - n_0**-2,
    )


def blocks(n_features: int, n_labelings: int) -> Iterator[slice]:
    """Cut features into blocks of which all labelings fit the cache."""
    size = max(GROUP, BLOCK // n_labelings)
    for start in range(0, n_features, size):
        yield slice(start, min(start + size, n_features))


def _parts(labelings: Labelings, size: int) -> tuple[torch.Tensor, ...]:
    """Cut the numbers of labelings into parts of a size."""
    rows = torch.arange(len(labelings.plain), device=labelings.plain.device)
    return torch.split(rows, size)


def scores_of_features(
    z: torch.Tensor, labelings: Labelings, unseen: torch.Tensor, power: float
) -> torch.Tensor:
    """Weigh features by their t-values and score other scans: (N, V) and (M, V) to (L, M)."""
    total = z.new_zeros(len(labelings.difference), len(unseen))
    square = z.new_zeros(len(total), 1)
    for block in blocks(z.shape[1], len(total)):
        weight = raise_t(labelings.t_values(z[:, block]), power)
        total.addmm_(weight, unseen[:, block].T)
        square += weight.square_().sum(1, keepdim=True)
    return total / square.sqrt_().clamp_(min=1e-12)


def weights_of_features(z: torch.Tensor, labelings: Labelings, power: float) -> torch.Tensor:
    """Weigh features, (N, V), by their t-values under each labeling, to a norm of 1: (L, V)."""
    weight = z.new_empty(len(labelings.difference), z.shape[1])
    for block in blocks(z.shape[1], len(weight)):
        weight[:, block] = raise_t(labelings.t_values(z[:, block]), power)
    weight /= torch.linalg.vector_norm(weight, dim=1, keepdim=True).clamp(min=1e-12)
    return weight


def scores_of_products(
    z: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    labelings: Labelings,
    unseen: torch.Tensor,
    n_products: int,
    power: float,
) -> torch.Tensor:
    """Keep the products with the largest t-values of each labeling and score other scans by them.

    Parameters
    ----------
    z, unseen : Tensor, shapes (N, V) and (M, V)
        Features of the training scans and of the others.
    first, second : Tensor, shape (P,)
        Of which features there are products.
    labelings : Labelings
        L of them.
    n_products : int
        How many are kept.
    power : float
        See `fmnet.networks.feature_weighting.weigh`.

    Returns
    -------
    Tensor, shape (L, M)
        Scores.
    """
    n, scores = min(n_products, len(first)), []
    across, across_unseen = z.T.contiguous(), unseen.T.contiguous()  # a product is of two rows
    if len(first) <= CANDIDATES * n:
        products = across[first] * across[second]
        for few in _parts(labelings, max(1, 8 * BLOCK // len(first))):
            t = labelings.rows(few).t_values(products.T)
            best = t.abs().topk(n).indices
            weight = torch.zeros_like(t).scatter_(1, best, raise_t(t.gather(1, best), power))
            weight /= torch.linalg.vector_norm(weight, dim=1, keepdim=True).clamp(min=1e-12)
            scores.append(weight @ (across_unseen[first] * across_unseen[second]))
        return torch.cat(scores)
    best, t = _largest_products(across, first, second, labelings, n)
    weight = raise_t(t, power)
    weight /= torch.linalg.vector_norm(weight, dim=1, keepdim=True).clamp(min=1e-12)
    for few, some in zip(torch.split(best, 64), torch.split(weight, 64), strict=True):
        products = across_unseen[first[few]] * across_unseen[second[few]]  # (L, n, M)
        scores.append((some[:, None] @ products)[:, 0])
    return torch.cat(scores)


def _largest_products(
    across: torch.Tensor, first: torch.Tensor, second: torch.Tensor, labelings: Labelings, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the `n` products with the largest t-values of each labeling, (L, n), and those."""
    n_labelings = len(labelings.plain)
    best = torch.zeros(n_labelings, n, dtype=torch.int64, device=across.device)
    t = across.new_zeros(best.shape)
    waiting, n_wanted = torch.arange(n_labelings, device=across.device), CANDIDATES * n
    while len(waiting):
        own = labelings.rows(waiting)
        bound = _draw_bound(across, first, second, own, n_wanted)
        labeling, product, own_t = _above(across, first, second, own, bound)
        counts = torch.bincount(labeling, minlength=len(waiting))
        starts = counts.cumsum(0) - counts
        is_done = counts >= n
        # of no labeling that is done, a split would still give one empty part
        for few in torch.split(is_done.nonzero()[:, 0], 64) if is_done.any() else ():
            offset = torch.arange(int(counts[few].max()), device=across.device)
            place = (starts[few, None] + offset).clamp_(max=len(product) - 1)
            size = torch.where(offset < counts[few, None], own_t[place].abs(), -1)
            chosen = place.gather(1, size.topk(n).indices)
            best[waiting[few]], t[waiting[few]] = product[chosen], own_t[chosen]
        waiting, n_wanted = waiting[~is_done], 2 * n_wanted
    return best, t


def _draw_bound(
    across: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    labelings: Labelings,
    n_wanted: int,
) -> torch.Tensor:
    """Guess from some products what about `n_wanted` of all t-values reach: (L,)."""
    step = max(1, len(first) // SAMPLE)
    few, others, rank = first[::step], second[::step], ceil(n_wanted / step)
    if rank >= len(few):
        return across.new_zeros(len(labelings.plain))
    products, bounds = across[few] * across[others], []
    for some in _parts(labelings, max(1, 8 * BLOCK // len(few))):
        size = labelings.rows(some).t_values(products.T).abs_()
        bounds.append(size.topk(rank).values[:, -1])
    return torch.cat(bounds)


def _above(
    across: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    labelings: Labelings,
    bound: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """List labelings, products and t-values that reach the bound of the labeling: (K,) each."""
    found: list[tuple[torch.Tensor, ...]] = []
    for block in blocks(len(first), len(bound)):
        products = across[first[block]] * across[second[block]]
        t = labelings.t_values(products.T)
        # most groups have none: what is left to be compared one by one is little
        padded = torch.nn.functional.pad(t, (0, -t.shape[1] % GROUP))
        grouped = padded.view(len(bound), GROUP, -1)
        largest = torch.maximum(grouped.amax(1), grouped.amin(1).neg_())
        row, group = (largest >= bound[:, None]).nonzero(as_tuple=True)
        values = grouped[row, :, group]  # (groups, GROUP)
        which, within = (values.abs() >= bound[row, None]).nonzero(as_tuple=True)
        product = block.start + within * grouped.shape[2] + group[which]
        kept = product < block.stop
        found.append((row[which][kept], product[kept], values[which, within][kept]))
    labeling, product, t = (torch.cat(one) for one in zip(*found, strict=True))
    order = labeling.argsort(stable=True)
    return labeling[order], product[order], t[order]
