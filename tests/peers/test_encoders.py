"""A reward model that is an encoder, in transformers' pipeline and in sentence-transformers' CrossEncoder: raw scores in both."""

import pytest
from peers.exports import ANSWERS, PROMPTS, reward_model

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def export(bert, tmp_path):
    return reward_model(bert, tmp_path / "reward-model")


def test_a_pipeline_gives_the_scores_of_the_run(export):
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(export.folder), device="cpu")
    found = classify([{"text": prompt, "text_pair": answer} for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)])
    assert [one["score"] for one in found] == pytest.approx(export.scores(PROMPTS, ANSWERS), abs=1e-5)


def test_a_cross_encoder_gives_the_scores_of_the_run(export):
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="it is not installed here: make peers installs it")
    model = sentence_transformers.CrossEncoder(str(export.folder), device="cpu")
    found = model.predict(list(zip(PROMPTS, ANSWERS, strict=True)))
    assert found.tolist() == pytest.approx(export.scores(PROMPTS, ANSWERS), abs=1e-5)
