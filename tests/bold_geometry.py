"""Shape and affine of BOLD files that tests write."""

import numpy as np

BOLD_SHAPE = (6, 7, 8)
BOLD_AFFINE = np.array(
    [[-21.0, 0, 0, 55], [0, 22, 0, -70], [0, 0, 23, -75], [0, 0, 0, 1]], dtype=float
)
