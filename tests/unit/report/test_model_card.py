"""The model card: what it says, and how it handles what the data say. That its code works is tested with `ser score`."""

import json
from dataclasses import replace

import pytest

from ser_core.api.stage import PrepareMetrics
from ser_core.report.model_card import Usage, plain, render_card, usage_of


@pytest.fixture(scope="module")
def card(ledger, evidence):
    return render_card(ledger, evidence, Usage(reads_pairs=True, end="", max_length=32), ledger.best_model())


def test_it_tells_budget_results_limits_and_provenance(card, ledger):
    heldout = ledger.best.metrics.heldout
    assert f"| loop 2 (this model) | {heldout.accuracy * 100:.1f} % |" in card
    assert "| seed | 90 | training; and, each by one of 4 models that has not seen it: " in card
    assert "| the longer answer wins |" in card
    assert "hf://org/tiny@0123" in card
    assert ledger.best.ref.sha256 in card
    assert "raw logits" in card


def test_of_a_model_that_the_run_has_not_chosen_it_says_so_and_gives_its_own_numbers(ledger, evidence):
    seed, best = ledger.models[0], ledger.best
    told = render_card(ledger, evidence, Usage(reads_pairs=True, end="", max_length=32), seed)
    accuracy, reached = (f"{one.metrics.heldout.accuracy * 100:.1f} %" for one in (seed, best))
    assert (
        f"This is the seed model, which the run has not chosen: its best one is the reward model of loop 2. It is right on {accuracy}"
        in told
    )
    assert f"The best one reaches {reached}, 17.5 points more; the difference is significant (p &#60; 0.001)." in told
    assert "on a small labelled seed alone" in told and "then on pairs that it labelled itself" not in told
    assert f"| seed (this model) | {accuracy} |" in told and f"| loop 2 (the best) | {reached} |" in told
    assert seed.ref.sha256 in told and best.ref.sha256 not in told


def test_labels_that_the_pool_does_not_have_are_not_called_hidden(card, ledger, evidence):
    key, prepared = next((key, one) for key, one in ledger.stages.items() if isinstance(one.metrics, PrepareMetrics))
    bare = replace(prepared, metrics=prepared.metrics.model_copy(update={"hidden_labels": False}))
    other = replace(ledger, stages={**ledger.stages, key: bare})
    told = render_card(other, evidence, Usage(reads_pairs=True, end="", max_length=32), other.best_model())
    assert ("human labels hidden" in card, "human labels hidden" in told) == (True, False)


def test_hostile_text_stays_text(card, hostile):
    assert hostile not in card
    assert "<script>" not in card
    assert plain("a|b\n<i>`x`") == "a&#124;b &#60;i&#62;&#96;x&#96;"


def test_a_hub_model_is_named_as_the_base(ledger, evidence):
    from ser_core.report.ledger import Ledger

    model = ledger.run.spec.reward_model.model_copy(update={"base": "hf://org/tiny"})
    run = ledger.run.model_copy(update={"spec": ledger.run.spec.model_copy(update={"reward_model": model})})
    card = render_card(Ledger(run, ledger.stages), evidence, Usage(reads_pairs=False, end="</s>", max_length=32), ledger.best_model())
    assert "base_model: org/tiny\n" in card
    assert '{answer}" + "' in card


@pytest.mark.parametrize(
    ("tokenizer", "config", "usage"),
    [
        ({"cls_token": "[CLS]", "sep_token": "[SEP]", "model_max_length": 512}, {"max_position_embeddings": 40}, Usage(True, "", 39)),
        ({"eos_token": "</s>"}, {"n_positions": 64}, Usage(False, "</s>", 63)),
        ({"eos_token": {"content": "</s>"}, "model_max_length": 1e30}, {"max_position_embeddings": 4096}, Usage(False, "</s>", 64)),
        ({"cls_token": None, "sep_token": None, "eos_token": "<end>"}, {}, Usage(False, "<end>", 64)),
        ({"eos_token": "<end>", "model_max_length": float("inf")}, {}, Usage(False, "<end>", 64)),
    ],
)
def test_usage_is_read_off_the_models_files(tmp_path, tokenizer, config, usage):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert usage_of(tmp_path, 64) == usage
