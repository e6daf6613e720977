"""How the learning rate of a training changes from step to step."""

import math

_WARM_UP = 0.1


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Rate of optimizer step ``step`` (from 0): linear warm-up over the first 10 %, then linearly down to zero after the last."""
    warm_up = max(1, math.ceil(_WARM_UP * steps))
    return peak * min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up + 1))
