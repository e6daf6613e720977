import pytest
import torch
from unit.learn.policy.doubles import prompts

from ser_core.errors import DataError
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.generation import encode_prompts, until_end

PROMPTS = [list(prompt.tokens) for prompt in prompts(4, 11, 1, 7, 4)]


@pytest.mark.parametrize(
    ("answer", "cut"),
    [
        ([5, 9, 7], ([5, 9], True)),
        ([9, 9, 7], ([9], True)),
        ([5, 8, 9], ([5, 8], True)),
        ([5, 7], ([5, 7], False)),
        ([], ([], False)),
    ],
)
def test_an_answer_ends_with_its_first_end_token(answer: list[int], cut: tuple[list[int], bool]):
    assert until_end(answer, (8, 9)) == cut


def test_answers_are_sampled_from_the_distribution_that_the_trainer_computes(actors):
    """Near temperature zero every sampled token is the likeliest one, and the trainer must agree token by token, whatever the padding."""
    policy, _, generator = actors()
    cold = 1e-4
    answers = generator.generate(PROMPTS, tokens=8, temperature=cold)
    with torch.no_grad():
        together = policy.log_probabilities(sequences(PROMPTS, answers, "cpu"), cold)
    torch.testing.assert_close(together, torch.zeros_like(together), rtol=0, atol=1e-3)
    alone = [generator.generate([prompt], tokens=8, temperature=cold)[0] for prompt in PROMPTS]
    assert answers == alone


def test_the_models_own_sampling_settings_are_left_aside_and_put_back(actors):
    policy, _, generator = actors()
    own = policy.network.generation_config
    own.suppress_tokens, own.repetition_penalty = list(range(1, 256)), 5.0
    torch.manual_seed(0)
    answers = generator.generate(PROMPTS[:1] * 20, tokens=1, temperature=100.0)
    assert len({tuple(answer) for answer in answers}) > 2
    assert policy.network.generation_config is own


def test_prompts_lose_their_beginning_when_they_are_too_long(actors):
    tokenizer = actors()[0].tokenizer
    whole, cut = (encode_prompts(tokenizer, ["abc"], tokens=tokens)[0] for tokens in (90, 5))
    assert tokenizer.decode(whole.tokens) == "Question: abc\n\nAnswer:"
    assert cut.tokens == whole.tokens[-5:]
    assert cut.text == "abc"


def test_a_prompt_without_tokens_is_refused(actors, monkeypatch):
    monkeypatch.setattr("ser_core.learn.policy.generation.TEMPLATE", "{prompt}")
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        encode_prompts(actors()[0].tokenizer, ["a", ""], tokens=9)


def test_answers_are_read_without_end(actors):
    policy, _, _ = actors()
    ids = policy.tokenizer(" yes  ")["input_ids"]
    assert policy.texts([[*ids, *policy.end_tokens], []]) == [" yes  ", ""]
