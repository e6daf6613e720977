"""Student's t distribution (1908), as far as intervals need it."""

from ser_core.loop.deciding.significance import Z95

_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Of 1 to 10 degrees of freedom."""


def half_width(freedom: int) -> float:
    """Half the width of the 95 % interval, in standard errors.

    Beyond the table by the expansion of Fisher and Cornish (1960), which is right to 0.003 there.

    Args:
        freedom: Degrees of freedom; below 1 it counts as 1.
    """
    if freedom <= len(_T95):
        return _T95[max(freedom, 1) - 1]
    return Z95 + (Z95**3 + Z95) / (4 * freedom) + (5 * Z95**5 + 16 * Z95**3 + 3 * Z95) / (96 * freedom**2)
