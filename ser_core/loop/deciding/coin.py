"""Whether a reward model may be no better than a coin, or does not hold."""

COIN = 0.5
"""Accuracy of a coin: a model whose interval reaches it may be no better."""


def against(accuracy: float | None, low: float | None, high: float | None, *, collapsed: bool) -> str:
    """What speaks against a reward model, after "it"; empty: its held-out interval lies above one half, or is not known.

    Args:
        accuracy: On the held-out pairs.
        low: Lower end of its 95 % interval.
        high: Upper end.
        collapsed: Whether each of its trainings has.
    """
    if collapsed:
        return "does not hold: each of its trainings has collapsed"
    if low is None or low > COIN:
        return ""
    if accuracy == 0:
        return "is right on no held-out pair; equal scores count as wrong"
    if high is not None and high < COIN:
        return "is worse than a coin: its held-out interval lies below one half"
    return "may be no better than a coin: its held-out interval reaches one half"
