"""Fisher's randomization test (1935): the differences of equal arms may as well have the other sign, group by group. Numpy alone."""

import numpy as np
from numpy.typing import NDArray


def randomization_test(sums: NDArray[np.float64]) -> float:
    """p, two-sided: the share of all ways to give the groups' differences their signs whose sum is as far from 0 as the one found.

    All ways are counted, however many: the characteristic function of the sum is the product of the cosines of its parts, and the Fourier
    transform of it the distribution. Where each group is a pair, this is McNemar's exact test.

    Args:
        sums: Of each group, the pairs that one arm has right minus those of the other: whole numbers.
    """
    sizes, times = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    highest = int(sizes @ times)
    values = 2 * highest + 1
    angles = 2 * np.pi * np.arange(values) / values
    wave = np.prod(np.cos(np.outer(sizes, angles)) ** times[:, np.newaxis], axis=0)
    chances = np.fft.fft(wave).real / values  # of the sums 0, 1, … and, from the end, of -1, -2, …
    found = abs(int(sums.sum()))
    least: float = 2.0 ** -float(times.sum())  # what rounding leaves of a small p is noise
    return min(1.0, max(float(chances[found : values - found + 1].sum()), least))
