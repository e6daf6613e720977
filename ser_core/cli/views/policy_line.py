"""The policy of a run in one line."""

from ser_core.api.status import PolicyStatus


def policy_line(policy: PolicyStatus) -> str:
    """What PPO reached, on the held-out prompts, by the best reward model."""
    score = f"held-out score {policy.baseline_score:.3f} → {policy.score:.3f} logits"
    stopped = f", stopped by {policy.stopped}" if policy.stopped else ""
    return f"{score}, {policy.kl:.1f} nats from its start, {policy.steps} PPO steps{stopped}"
