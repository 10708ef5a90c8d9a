"""Linear models fitted to the same scans under many labelings, sharing what needs no labels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Features of all scans that are multiplied at once.
BLOCK = 1024
#: Numbers of screened features that are held at once.
HELD = 2**22
#: Variance within a group, of features whose variance is 1, below which they are constant there.
CONSTANT = 1e-6
#: Newton steps at most, and the largest change of a score after which they end.
STEPS, TOLERANCE = 50, 1e-9


def aucs_of_labelings(scores: Floats, labelings: Labels) -> Floats:
    """AUC of scores, (..., L, M), under the labels of each labeling, (L, M): (..., L)."""
    higher = np.sign(scores[..., :, None] - scores[..., None, :]) / 2 + 0.5
    is_pair = (labelings[:, :, None] == 1) & (labelings[:, None, :] == 0)
    return np.asarray((higher * is_pair).sum(axis=(-2, -1)) / is_pair.sum(axis=(-2, -1)))


def fit_logistic(kernel: Floats, labelings: Labels, c: float) -> tuple[Floats, Floats]:
    """Fit logistic regression with an L2 penalty and balanced classes by Newton's method.

    It minimises ``a K a / 2 + c * (weighted log loss)`` as scikit-learn's ``LogisticRegression``
    does, whose solver stops earlier.

    Parameters
    ----------
    kernel : ndarray, shape (N, N)
        Inner products of the training scans.
    labelings : ndarray of int, shape (L, N)
        0 or 1.
    c : float
        See scikit-learn.

    Returns
    -------
    tuple of ndarray, shapes (L, N) and (L,)
        Weight of each training scan, and the bias.
    """
    y = labelings.astype(float)
    n, n_1 = y.shape[1], y.sum(1, keepdims=True)
    cost = c * np.where(labelings == 1, n / (2 * n_1), n / (2 * (n - n_1)))
    each, bias = np.zeros_like(y), np.zeros((len(y), 1))
    f, sign = np.zeros_like(y), 2 * y - 1
    value = _objective(cost, sign, f, each, kernel)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-f))
        curvature = np.maximum(p * (1 - p), 1e-12)
        root = np.sqrt(cost * curvature)
        target = root * (f + (y - p) / curvature)
        inner = np.eye(n) + root[:, :, None] * kernel * root[:, None, :]
        u, v = np.moveaxis(np.linalg.solve(inner, np.stack([target, root], axis=2)), 2, 0)
        new_bias = (root * u).sum(1, keepdims=True) / (root * v).sum(1, keepdims=True)
        to_each, to_bias = root * (u - new_bias * v) - each, new_bias - bias
        to_f = to_each @ kernel + to_bias
        if np.abs(to_f).max() < TOLERANCE:
            break
        step = np.ones((len(y), 1))
        for _ in range(20):  # full steps nearly always: the loss has no steep corners
            now = _objective(cost, sign, f + step * to_f, each + step * to_each, kernel)
            worse = now > value * (1 + 1e-12)
            if not worse.any():
                break
            step[worse] /= 2
        each, bias, f, value = each + step * to_each, bias + step * to_bias, f + step * to_f, now
    return each, bias[:, 0]


def _objective(cost: Floats, sign: Floats, f: Floats, each: Floats, kernel: Floats) -> Floats:
    penalty = np.einsum("ln,ln->l", each @ kernel, each) / 2
    return np.asarray(penalty + (cost * np.logaddexp(0, -sign * f)).sum(1))


class _Groups(NamedTuple):
    """Labels of L labelings, (L, N), and how many there are of each, (L, 1)."""

    labels: torch.Tensor
    n_1: torch.Tensor
    n_0: torch.Tensor

    def rows(self, few: slice) -> "_Groups":
        return _Groups(self.labels[few], self.n_1[few], self.n_0[few])

    def members(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self.labels, self.n_1), (1 - self.labels, self.n_0)]


def lda_scores(
    features: FloatArray,
    labelings: Labels,
    others: FloatArray,
    fractions: Sequence[float],
    least_variance: float,
) -> Floats:
    """Fit `fmnet.baselines.linear.ShrinkageLda` under many labelings, and score other scans.

    A discriminant lies in the span of the training scans: all that it takes are products of scans,
    each feature divided by its variance within groups, which for all labelings are one matrix
    product.

    Parameters
    ----------
    features, others : ndarray, shapes (N, F) and (M, F)
        Of the training scans and of those to be scored.
    labelings : ndarray of int, shape (L, N)
        0 or 1.
    fractions : sequence of float
        Fractions of the features to keep, S of them.
    least_variance : float
        Granted to each feature.

    Returns
    -------
    ndarray, shape (S, L, M)
        Scores.
    """
    x, u = (torch.from_numpy(np.asarray(one, np.float32)) for one in (features, others))
    labels = torch.from_numpy(labelings).float()
    n_1 = labels.sum(1, keepdim=True)
    groups = _Groups(labels, n_1, labels.shape[1] - n_1)
    squares = x.square()
    means = [member @ x / n for member, n in groups.members()]
    variances = [
        (member @ squares / n - mean.square()).clamp_(min=0)
        for (member, n), mean in zip(groups.members(), means, strict=True)
    ]
    within = (n_1 * variances[0] + groups.n_0 * variances[1]) / labels.shape[1]
    t_like = (means[0] - means[1]).square_() / within.clamp_(min=least_variance)
    del means, within
    n_features, scores = x.shape[1], []
    for fraction in fractions:
        n_kept = max(1, round(fraction * n_features))
        if n_kept == n_features:
            scores.append(_score_all(x, u, groups, variances, least_variance))
            continue
        order = np.argpartition(t_like.numpy(), n_features - n_kept, axis=1)
        kept = torch.from_numpy(order[:, n_features - n_kept :])
        scores.append(_score_kept(x, u, groups, variances, kept, least_variance))
    return np.stack([one.double().numpy() for one in scores])


def _score_all(
    x: torch.Tensor,
    u: torch.Tensor,
    groups: _Groups,
    variances: list[torch.Tensor],
    least_variance: float,
) -> torch.Tensor:
    n, n_labelings = len(x), len(groups.labels)
    i, j = torch.triu_indices(n, n)

    def products(weigh: Callable[[slice], torch.Tensor]) -> torch.Tensor:
        flat = x.new_zeros(n_labelings, len(i))
        for start in range(0, x.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            flat.addmm_(weigh(block), (x[i, block] * x[j, block]).T)
        square = x.new_zeros(n_labelings, n, n)
        square[:, i, j] = square[:, j, i] = flat
        return square

    shrinkage = [
        _shrinkage(products(partial(_inverse_of, own)), *member, x.shape[1])
        for own, member in zip(variances, groups.members(), strict=True)
    ]
    diagonal = _diagonal(variances, shrinkage, least_variance)
    across = x.new_zeros(n_labelings, n * len(u))
    for start in range(0, x.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        pairs = (x[:, None, block] * u[None, :, block]).flatten(0, 1)
        across.addmm_(1 / diagonal[:, block], pairs.T)
    within = products(lambda block: 1 / diagonal[:, block])
    return _discriminate(within, across.view(n_labelings, n, len(u)), groups, shrinkage)


def _score_kept(
    x: torch.Tensor,
    u: torch.Tensor,
    groups: _Groups,
    variances: list[torch.Tensor],
    kept: torch.Tensor,
    least_variance: float,
) -> torch.Tensor:
    """Score by other features for each labeling, `kept` of them: (L, K)."""
    n_kept, scores = kept.shape[1], []
    across_x, across_u = x.T.contiguous(), u.T.contiguous()
    size = max(1, HELD // (n_kept * len(x)))
    for start in range(0, len(kept), size):
        few = slice(start, start + size)
        own_x, own_u = across_x[kept[few]], across_u[kept[few]]  # (L, K, N) and (L, K, M)
        some = groups.rows(few)
        own = [one[few].gather(1, kept[few]) for one in variances]
        shrinkage = [
            _shrinkage((own_x * _inverse(one)[..., None]).mT @ own_x, *member, n_kept)
            for one, member in zip(own, some.members(), strict=True)
        ]
        scaled = own_x / _diagonal(own, shrinkage, least_variance)[..., None]
        scores.append(_discriminate(scaled.mT @ own_x, scaled.mT @ own_u, some, shrinkage))
    return torch.cat(scores)


def _inverse(variance: torch.Tensor) -> torch.Tensor:
    return torch.where(variance > CONSTANT, 1 / variance, 0)


def _inverse_of(variance: torch.Tensor, block: slice) -> torch.Tensor:
    return _inverse(variance[:, block])


def _diagonal(
    variances: list[torch.Tensor], shrinkage: list[torch.Tensor], least_variance: float
) -> torch.Tensor:
    total = torch.zeros_like(variances[0])
    for variance, part in zip(variances, shrinkage, strict=True):
        varies = variance > CONSTANT
        mean = varies.to(variance.dtype).mean(1, keepdim=True)
        total += part * mean * torch.where(varies, variance, 1)
    return (total / 2).clamp_(min=least_variance)


def _shrinkage(
    products: torch.Tensor, member: torch.Tensor, n: torch.Tensor, n_features: int
) -> torch.Tensor:
    """Ledoit and Wolf's shrinkage of one group, (L, 1), see `ledoit_wolf_dual`.

    `products` are of scans, (L, N, N), each feature divided by its variance in the group.
    """
    centring = torch.diag_embed(member) - member[:, :, None] * member[:, None] / n[..., None]
    gram = (centring @ products @ centring).double()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    square = gram.square().sum((1, 2))[:, None] / n**2
    distance = square - (diagonal.sum(1, keepdim=True) / n) ** 2 / n_features
    noise = (diagonal.square().sum(1, keepdim=True) / n - square) / n
    known = distance > 1e-12 * square
    ratio = torch.where(known, noise / torch.where(known, distance, 1), 0)
    return ratio.clamp_(0, 1).to(products.dtype)


def _discriminate(
    within: torch.Tensor, across: torch.Tensor, groups: _Groups, shrinkage: list[torch.Tensor]
) -> torch.Tensor:
    """Solve for the weights of scans (Woodbury), and score: (L, N, N) and (L, N, M) to (L, M)."""
    within, across = within.double(), across.double()
    (one, n_1), (other, n_0) = ((own.double(), n.double()) for own, n in groups.members())
    n = within.shape[1]
    factor = one * ((1 - shrinkage[0]) / (2 * n_1)).sqrt()
    factor = factor + other * ((1 - shrinkage[1]) / (2 * n_0)).sqrt()
    mean = one[:, :, None] * (one / n_1)[:, None] + other[:, :, None] * (other / n_0)[:, None]
    centred = torch.eye(n, dtype=within.dtype) - mean
    rows = factor[..., None] * centred  # (L, N, N): of the scans
    difference = one / n_1 - other / n_0
    inner = torch.eye(n, dtype=within.dtype) + rows @ within @ rows.mT
    onto = rows @ within @ difference[..., None]
    each = difference - (rows.mT @ torch.linalg.solve(inner, onto))[..., 0]
    middle = (one / n_1 + other / n_0)[:, None] @ within @ each[..., None] / 2
    scores: torch.Tensor = (each[:, None] @ across)[:, 0] - middle[:, 0]
    return scores
