"""The oracle's map where the groups' means differ in regions of a known form."""

import numpy as np
from numpy.random import Generator
from scipy.special import expit, logsumexp, softmax

from benchmarks.signature.candidates import Candidates
from benchmarks.signature.noise import Evidence, Floats
from fmnet.data.volume import FloatArray

#: Chains, sweeps of each through all regions, and sweeps that don't count.
N_CHAINS, N_SWEEPS, N_FIRST = 2, 45, 10


def sample_regions(evidence: Evidence, candidates: Candidates, rng: Generator) -> Floats:
    """Sample all regions together by Gibbs' method: how probable it is that one is there, (M,).

    One region after another is taken out and put back where it fits what the others leave.
    """
    total = np.zeros(len(evidence.fit))
    half_size = evidence.size / 2
    for _ in range(N_CHAINS):
        middles = np.full((candidates.count, 3), np.inf)
        added = np.zeros((candidates.count, len(total)))
        for sweep in range(N_SWEEPS):
            for region in rng.permutation(candidates.count):
                middles[region], added[region] = np.inf, 0
                left = evidence.fit - added.sum(axis=0)
                logits = np.stack([left, -left]) - half_size
                taken = middles[np.isfinite(middles[:, 0])]
                logits[:, ~candidates.far_from(taken)] = -np.inf
                shares = softmax(logits)
                if sweep >= N_FIRST:
                    total += shares.sum(axis=0)
                sign, place = np.divmod(_draw(shares.ravel(), rng), len(total))
                middles[region] = candidates.middles[place]
                added[region] = (1 - 2 * sign) * evidence.beside(int(place))
    return total / (N_CHAINS * (N_SWEEPS - N_FIRST))


def _draw(shares: Floats, rng: Generator) -> int:
    cumulative = np.cumsum(shares)
    return int(min(np.searchsorted(cumulative, rng.random() * cumulative[-1]), len(shares) - 1))


def single_regions(evidence: Evidence) -> Floats:
    """Logarithm of how much more probable what was seen is with one region at each place: (M,)."""
    both = np.stack([evidence.fit, -evidence.fit]) - evidence.size / 2
    return np.asarray(logsumexp(both, axis=0) - np.log(2))


def pick_regions(log_odds: Floats, candidates: Candidates) -> Floats:
    """Turn log odds of single regions into how probable one is at each place: (M,).

    The best place is taken with those around it, among which its region must lie, then the best of
    those that are left.
    """
    total, left = np.zeros(len(log_odds)), log_odds.copy()
    prior = np.log(candidates.count / len(log_odds))
    for _ in range(candidates.count):
        if not np.isfinite(best := left.max()):
            break
        around = ~candidates.far_from(candidates.middles[[int(left.argmax())]])
        around &= np.isfinite(left)
        weight = np.exp(left[around] - best)
        is_there = expit(best + np.log(weight.sum()) + prior)
        total[around] += is_there * weight / weight.sum()
        left[around] = -np.inf
    return total


def paint(candidates: Candidates, probability: Floats) -> FloatArray:
    """Sum over the places whose region has a voxel: how probable it is that one has it, (V,)."""
    return np.asarray(candidates.painted.T @ probability, dtype=np.float32)
