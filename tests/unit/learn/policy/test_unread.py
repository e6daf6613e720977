"""What the reward model will not read of the policy's rows is told before anything is spent."""

import pytest

from ser_core.api.spec.policy import PolicySpec
from ser_core.learn.policy.unread import unread_by


@pytest.mark.parametrize(
    ("wanted", "limit", "told", "remedy"),
    [
        (640, 1023, "", ""),
        (512, 1023, "= 640: the reward model reads at most 512 tokens", "promptTokens 384 or rewardModel.maxLength 640"),
        (1024, 511, "without the beginning of a long prompt", "promptTokens 383"),
        (129, 1023, "without the beginning", "promptTokens 1 or rewardModel.maxLength 640"),
        (128, 1023, "answerTokens 128: the reward model reads at most 128 tokens", "much less than 128 or rewardModel.maxLength 640"),
        (1024, 100, "without their prompt", "much less than 100"),
    ],
)
def test_rows_that_the_reward_model_would_cut_are_told(wanted: int, limit: int, told: str, remedy: str):
    found = [*unread_by(PolicySpec(base="hf://a/b", prompt_tokens=512, answer_tokens=128), wanted, limit)]
    assert len(found) == bool(told)
    assert all(told in one and one.endswith(remedy) for one in found)
