"""The policy of a run in one line."""

from ser_core.api.status import PolicyStatus


def policy_line(policy: PolicyStatus) -> str:
    """What PPO reached on the held-out prompts. The score is a logit of the best reward model."""
    stopped = f", stopped by {policy.stopped}" if policy.stopped else ""
    score = f"score {policy.baseline_score:.3f} → {policy.score:.3f} (held-out prompts)"
    return f"{score}, KL {policy.kl:.1f} nats, {policy.steps} PPO steps{stopped}"
