"""Losses on a pair's two scores. Pure functions of tensors of shape (pairs,); all return one value a pair."""

import torch
from torch.nn.functional import logsigmoid


def bradley_terry(margin: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``-(t log sigmoid(m) + (1 - t) log sigmoid(-m))``: the cross-entropy of the Bradley-Terry model.

    Args:
        margin: Score of the better answer minus that of the worse one, in logits.
        target: Probability that the better one is better; 1: a hard label.
    """
    return -(target * logsigmoid(margin) + (1 - target) * logsigmoid(-margin))


def hinge(margin: torch.Tensor, wanted: float, target: torch.Tensor) -> torch.Tensor:
    """``max(0, wanted - m)`` (arXiv 2411.00418, Eq. 5); of a tie, target one half, the mean of both directions."""
    hard = torch.clamp(wanted - margin, min=0)
    return torch.where(target == 0.5, (hard + torch.clamp(wanted + margin, min=0)) / 2, hard)


def centering(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
    """``(better + worse)^2``: a pair teaches only a difference, so this term keeps the scores around zero."""
    return (better + worse).square()
