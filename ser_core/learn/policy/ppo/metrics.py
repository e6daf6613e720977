"""The numbers of each PPO step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Numbers of one PPO step, over all processes. A number that a skipped step does not have is NaN."""

    step: int
    """Number of the step, from 1."""
    reward: float
    """Mean over answers of the sum of their token rewards: the score and the KL penalty."""
    score: float
    """Mean raw score of the reward model that PPO learns from, in logits."""
    witness_score: float | None
    """Mean raw score of the witness for the same answers, in logits; None: there is no witness, or the mean is not finite."""
    kl: float
    """Mean over answers of ``log policy - log reference policy`` of the whole answer (the estimator k1 of the KL divergence), in nats."""
    kl_coefficient: float
    """Weight of the KL penalty in this step's rewards."""
    entropy: float
    """Mean of ``-log policy`` over the sampled tokens, in nats: an unbiased estimate of the entropy."""
    answer_tokens: float
    """Mean length of answers, end token included."""
    ended: float
    """Share of answers with an end token."""
    policy_loss: float
    value_loss: float | None
    """None: there is no critic."""
    approximate_kl: float
    """Mean over the tokens of the last minibatch of ``ratio - 1 - log ratio``, in nats: the KL divergence from the rollout's policy."""
    clipped: float
    """Share of tokens whose ratio was outside the clip range, over all minibatches."""
    explained_variance: float | None
    """``1 - var(returns - values) / var(returns)`` of the critic before the step's updates; None: there is no critic."""
    policy_gradient_norm: float
    """Norm before clipping, mean over minibatches."""
    critic_gradient_norm: float | None
    """Norm before clipping, mean over minibatches; None: there is no critic."""
    updates: int
    """Optimizer steps taken."""
    skipped: int
    """Optimizer steps, or whole rollouts, that were skipped because a number was not finite."""
    rolled_back: bool
    """Whether the last good weights were put back."""
    ended_early: bool
    """Whether the updates ended early because of ``step_kl_limit``."""
    rate_factor: float
    """Factor of the learning rates."""
    generate_seconds: float
    """Sampling of the answers."""
    score_seconds: float
    """Scores of both reward models, and the forward passes of policy, reference policy and critic before the updates."""
    train_seconds: float
    """Advantages and updates."""
    distinct: float | None = None
    """Different answers, as a share of all answers; None: a step of version 0.1.0."""
    repeated: float | None = None
    """Mean over answers of the share of their token triples that stood before in the same answer (seq-rep-n of Welleck et al. 2020,
    arXiv 1908.04319, with n 3); None: a step of version 0.1.0."""
    distinct_triples: float | None = None
    """Different token triples, as a share of those of all answers (distinct-n of Li et al. 2016, arXiv 1510.03055, with n 3); None: no
    answer has three tokens, or a step of version 0.1.0."""

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return self.generate_seconds + self.score_seconds + self.train_seconds
