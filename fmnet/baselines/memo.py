"""Results that are dear to compute, kept while there is room."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[Any]]

#: Bytes of all that is kept: enough for what a fold needs of 200 people and 200 regions.
LIMIT = 512 * 2**20


class Memo:
    """The results used last, found by all that they depend on; other processes get none of them.

    Parameters
    ----------
    limit : int
        Bytes; the result used last is kept whatever its size.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, Arrays] = OrderedDict()

    def __reduce__(self) -> tuple[type["Memo"], tuple[int]]:
        """Reach another process empty: it works on other folds."""
        return type(self), (self.limit,)

    def get(self, key: Hashable, compute: Callable[[], Arrays]) -> Arrays:
        """Look up arrays, or compute and keep them, at the cost of those not used for longest."""
        if key not in self._kept:
            self._kept[key] = compute()
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self._size() > self.limit:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _size(self) -> int:
        return sum(int(np.asarray(one).nbytes) for kept in self._kept.values() for one in kept)
