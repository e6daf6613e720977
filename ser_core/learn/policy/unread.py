"""What a reward model does not read of the policy's rows. Pure.

A row that is too long loses the beginning of its prompt, then the end of its answer (`ser_core.learn.reward.encoding`). What is lost is not
scored, so PPO lets the policy write anything there.
"""

from collections.abc import Iterator

from ser_core.api.spec.policy import PolicySpec


def unread_by(policy: PolicySpec, wanted: int, limit: int) -> Iterator[str]:
    """A warning where the longest prompt and answer of the policy are more than the reward model reads.

    Both may count other tokens, so this is an estimate; the stage `ppo` counts what was cut.

    Args:
        policy: Of the spec.
        wanted: ``rewardModel.maxLength``.
        limit: Tokens of the longest row that the model and its tokenizer allow.
    """
    read, longer = min(wanted, limit), f" or rewardModel.maxLength {policy.row_tokens}" if policy.row_tokens <= limit else ""
    reads = f"the reward model reads at most {read:,} tokens of a row"
    if policy.answer_tokens >= read:
        yield (
            f"policy.answerTokens {policy.answer_tokens}: {reads}, so ppo scores long answers without their prompt and their end, where "
            f"the policy may write anything; set policy.answerTokens to much less than {read:,}{longer}"
        )
    elif policy.row_tokens > read:
        fitting = f"policy.promptTokens {read - policy.answer_tokens}{longer}"
        longest = f"policy.promptTokens {policy.prompt_tokens} + policy.answerTokens {policy.answer_tokens} = {policy.row_tokens}"
        yield f"{longest}: {reads}, so ppo scores long answers without the beginning of a long prompt; they fit with {fitting}"


def unread_in(cut: int, answers: int, max_length: int) -> str:
    """A note where the reward model did not read all of what it scored; empty: it did.

    Args:
        cut: Answers to held-out prompts that it read a part of.
        answers: All answers to them.
        max_length: ``rewardModel.maxLength``.
    """
    if not cut:
        return ""
    longer = f"{cut} of {answers} answers to held-out prompts, with their prompts, are longer than the reward model reads"
    return f"{longer} (rewardModel.maxLength {max_length}): what was cut is not scored, so PPO lets the policy write anything there"
