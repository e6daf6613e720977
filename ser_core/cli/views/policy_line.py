"""The policy of a run in one line."""

from ser_core.api.status import PolicyStatus
from ser_core.loop.text import decimals


def policy_line(policy: PolicyStatus) -> str:
    """What PPO reached on the held-out prompts. The score is a logit of the best reward model."""
    stopped = f", stopped by {policy.stopped}" if policy.stopped else ""
    score = f"held-out prompts: score {policy.baseline_score:.3f} → {policy.score:.3f}"
    return f"{score}, KL {decimals(policy.kl)} nats, {policy.steps} PPO steps{stopped}"
