"""What counts as more than chance."""

from statistics import NormalDist

SIGNIFICANT = 0.05
"""A difference is significant where chance alone gives one as large less often than this."""
Z95 = NormalDist().inv_cdf(1 - SIGNIFICANT / 2)
"""Half the width of a 95 % interval of a normal distribution, in standard errors."""
FEW_GROUPS = 10
"""Groups of pairs below which an interval is not to be trusted: how much they differ is hardly known."""


def shown_p(p_value: float) -> str:
    """A p-value with three decimals; none is 0."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def p_text(p_value: float) -> str:
    """`shown_p` as a sentence says it."""
    return f"p = {shown_p(p_value)}".replace("= <", "< ")
