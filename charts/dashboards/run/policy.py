"""PPO: what came of it, and how it went."""

from dashboards.colours import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from dashboards.panels import COUNT, FEW, SHARE, Panel, lines, number
from dashboards.queries import RATE, RUN, Query, of_run

THIRD = 8
QUARTER = 6


def policy() -> list[Panel]:
    """The panels of the row."""

    def newest(metric: str) -> str:
        return of_run(metric, "run")

    result = [
        number(
            "Final score",
            "Mean score of the aligned policy on held-out prompts, in logits; there when the run has completed.",
            COUNT,
            Query(newest("ser_run_policy_score"), "score"),
        ),
        number("Score before", "The same of the policy before PPO.", COUNT, Query(newest("ser_run_policy_baseline_score"), "score")),
        number(
            "Final KL",
            "Mean KL of a whole answer from the reference policy, in nats.",
            COUNT,
            Query(newest("ser_run_policy_kl_nats"), "KL"),
        ),
        number("Steps taken", "PPO steps of the aligned policy.", COUNT, Query(newest("ser_run_policy_steps"), "steps")),
    ]
    training = [
        lines(
            "Score",
            "Mean score of the rollouts by the reward model and by the witness, from which PPO does not learn, and the reward: the score "
            "minus the KL penalty. A score that rises while the witness falls is reward hacking.",
            COUNT,
            Query(newest("ser_policy_score"), "score", BLUE),
            Query(newest("ser_policy_witness_score"), "witness", ORANGE, dashed=True),
            Query(newest("ser_policy_reward"), "reward", GREEN),
        ),
        lines(
            "KL from the reference policy",
            "Mean KL of a whole answer in nats, and its weight in the reward.",
            COUNT,
            Query(newest("ser_policy_kl_nats"), "KL", VERMILION),
            Query(newest("ser_policy_kl_coefficient"), "weight", PURPLE, dashed=True, right=True),
        ),
        lines(
            "Steps and skipped updates",
            "PPO steps of the attempt, and updates left out because a number was not finite.",
            COUNT,
            Query(newest("ser_policy_steps_total"), "steps", BLUE),
            Query(newest("ser_policy_skipped_updates_total"), "skipped", VERMILION, right=True),
            axis=FEW,
        ),
        lines(
            "Length of answers",
            "Mean number of tokens of an answer.",
            COUNT,
            Query(newest("ser_policy_answer_tokens"), "tokens", SKY),
        ),
        lines(
            "Entropy",
            "Mean entropy of a token in nats; towards 0 the policy says always the same.",
            COUNT,
            Query(newest("ser_policy_entropy_nats"), "entropy", PURPLE),
        ),
        lines(
            "Repetition",
            "Different answers and different phrases (three tokens) among all of a step, and how much of an answer stood in it before.",
            SHARE,
            Query(newest("ser_policy_distinct_ratio"), "different answers", GREEN),
            Query(newest("ser_policy_repeated_ratio"), "repeated within an answer", VERMILION),
            Query(newest("ser_policy_distinct_triples_ratio"), "different phrases", BLUE),
        ),
        lines(
            "Shares",
            "Tokens whose ratio was clipped, answers that end by themselves, and the variance of returns that the critic explains.",
            SHARE,
            Query(newest("ser_policy_clipped_ratio"), "clipped", VERMILION),
            Query(newest("ser_policy_ended_ratio"), "ended", GREEN),
            Query(newest("ser_policy_explained_variance_ratio"), "explained by the critic", BLUE),
        ),
        lines(
            "Losses",
            "Of policy and critic.",
            COUNT,
            Query(newest("ser_policy_loss"), "policy", SKY),
            Query(newest("ser_policy_value_loss"), "critic", ORANGE),
        ),
        lines(
            "Gradient norms",
            "Before clipping.",
            COUNT,
            Query(newest("ser_policy_gradient_norm"), "policy", SKY),
            Query(newest("ser_policy_critic_gradient_norm"), "critic", ORANGE),
        ),
        lines(
            "Where the time goes",
            "Share of the time that PPO spends on writing answers, scoring them and updates.",
            SHARE,
            *(
                Query(f"{_spent(part)} / ({_spent('generate')} + {_spent('score')} + {_spent('train')})", name, colour)
                for part, name, colour in (("generate", "writing", SKY), ("score", "scoring", ORANGE), ("train", "updates", GREEN))
            ),
        ),
    ]
    return [*(panel.span(QUARTER) for panel in result), *(panel.span(THIRD) for panel in training)]


def _spent(part: str) -> str:
    return f"sum(rate(ser_policy_{part}_seconds_total{{{RUN}}}{RATE}))"
