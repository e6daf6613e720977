"""What the report and the card say of a policy."""

import json
import re
from dataclasses import replace

import pytest

from ser_core.api.serrun import SERRun
from ser_core.api.stage import PolicyEvaluation, PolicyMetrics, RunIdentity, SupervisedMetrics
from ser_core.api.status import StageKind
from ser_core.data.tables import PolicyStep, SupervisedStep, write_table
from ser_core.errors import SpecError
from ser_core.report.evidence import read_evidence
from ser_core.report.findings import spread
from ser_core.report.html import render
from ser_core.report.ledger import Ledger, read_ledger
from ser_core.report.model_card import export_policy, render_policy_card
from ser_core.report.policy import caveats, sentences

from ..conftest import HOSTILE, Writer, write_run

BEFORE = PolicyEvaluation(score=-0.5, witness_score=-0.25, kl=0, answer_tokens=20, ended=0.5, distinct=1)
AFTER = PolicyEvaluation(score=1.25, witness_score=0.75, kl=6.5, answer_tokens=24, ended=0.875, distinct=0.75)
METRICS = PolicyMetrics(
    steps=30,
    kept_step=30,
    prompts=300,
    heldout_prompts=8,
    before=BEFORE,
    after=AFTER,
    change_low=1.5,
    change_high=2.0,
    critic="policy",
    notes=("the critic starts from the policy",),
)
LINE_ENDS = "\u0085\u2028\u2029"
"""Unicode has these as ends of lines; JSON does not, and `ppo` writes them as they are."""
NUMBERS = dict.fromkeys(
    (
        "reward", "entropy", "ended", "policy_loss", "value_loss", "clipped", "explained_variance",
        "policy_gradient_norm", "critic_gradient_norm"
    ),
    0.5,
)  # fmt: skip
COUNTS = {"kl_coefficient": 0.05, "updates": 4, "skipped": 0, "rate_factor": 1.0}


def step(number):
    score = -0.5 + 0.05 * number if number != 7 else float("nan")  # a step that was left out
    return PolicyStep(
        step=number, score=score, witness_score=score / 2, kl=0.2 * number, answer_tokens=20 + number / 8, **NUMBERS, **COUNTS
    )


def answer(number):
    said = {"witness_score": None, "kl": 0.0, "tokens": 3, "ended": True}
    before, after = (
        said | {"text": f"{name}{LINE_ENDS} {HOSTILE}", "score": float(score)} for name, score in (("old", 0), ("new", number))
    )
    return {"prompt": f"prompt {number}", "before": before, "after": after}


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """A run with a fine-tuned and aligned policy."""
    model = tmp_path_factory.mktemp("no-weights")
    (model / "config.json").write_text("{}")
    stored = write_run(tmp_path_factory.mktemp("aligned-run"), model)
    document = stored.run.model_dump(mode="json", by_alias=True)
    document["spec"]["policy"] = {"base": "hf://org/policy", "sft": {}}
    run = SERRun.model_validate(document)
    write = Writer(stored.store, RunIdentity.of(run.metadata), stored.folder / "policy")
    write.folder.mkdir()
    write.minute = 30
    losses = [SupervisedStep(number, 5 / number) for number in range(1, 9)]
    tuned = SupervisedMetrics(steps=8, answers=90, truncated=0, first_loss=5, last_loss=0.625)
    write.stage(StageKind.SFT, 0, tuned, {"sft.parquet": lambda path: write_table(path, SupervisedStep, losses)})
    files = {
        "ppo.parquet": lambda path: write_table(path, PolicyStep, map(step, range(1, 31))),
        "answers.jsonl": "".join(json.dumps(answer(number), ensure_ascii=False) + "\n" for number in range(8)).encode(),
        "model/config.json": b"{}",
    }
    write.stage(StageKind.PPO, 0, METRICS, files)
    return replace(stored, run=run)


@pytest.fixture(scope="module")
def ledger(aligned):
    return read_ledger(aligned.store, aligned.run)


@pytest.fixture(scope="module")
def evidence(aligned, ledger, tmp_path_factory):
    found = read_evidence(aligned.store, ledger, tmp_path_factory.mktemp("evidence"))
    return replace(found, provenance={**found.provenance, "policy": {"pinned": "hf://org/policy@0123", "modelType": "qwen2"}})


@pytest.fixture(scope="module")
def page(ledger, evidence):
    return render(ledger, evidence, "serrun.yaml")


def with_metrics(ledger, **change):
    stages = dict(ledger.stages)
    record = ledger.policy
    stages[record.key] = replace(record, metrics=record.metrics.model_copy(update=change))
    return Ledger(ledger.run, stages)


def test_the_policy_stands_between_the_loops_and_the_controls(ledger):
    assert [str(key) for key in ledger.stages][-3:] == ["sft", "ppo", "control-full"]


def test_the_page_draws_every_curve_with_its_unit(page):
    for title, unit in [
        ("Score by PPO step", "mean score (logits)"),
        ("KL from the reference policy", "KL (nats an answer)"),
        ("Length of answers", "tokens an answer"),
        ("Loss of the supervised fine-tuning", "nats a token"),
    ]:
        assert f"<h3>{title}</h3>" in page
        assert unit in page
    assert not any("nan" in points for points in re.findall(r'points="([^"]*)"', page))


def test_answers_come_from_the_most_to_the_least_gained_and_are_text(page, evidence):
    assert [answer["prompt"] for answer in evidence.policy.answers] == ["prompt 7", "prompt 5", "prompt 2", "prompt 0"]
    assert HOSTILE not in page


def test_an_answer_with_line_ends_of_unicode_stays_one_answer(evidence):
    assert all(LINE_ENDS in answer[name]["text"] for answer in evidence.policy.answers for name in ("before", "after"))


def test_the_page_of_a_run_without_a_policy_has_none_of_it(stored_run, tmp_path):
    ledger = read_ledger(stored_run.store, stored_run.run)
    page = render(ledger, read_evidence(stored_run.store, ledger, tmp_path), "serrun.yaml")
    assert "<h2>Policy</h2>" not in page
    assert "PPO" not in page


def test_the_change_is_told_with_its_interval_and_by_the_model_that_was_not_learnt_from(ledger):
    first, second, third = sentences(ledger)
    assert first == (
        "PPO took the policy's mean score by the best reward model from -0.50 to 1.25 logits on 8 held-out prompts "
        "(95 % interval of the change +1.50 to +2.00)."
    )
    assert second == "The witness (the seed's reward model, from which PPO does not learn) gave -0.25 before and 0.75 after."
    assert "6.50 nats" in third
    assert "88 % end by themselves (before 50 %)" in third
    assert third.endswith("; 75 % are different ones (before 100 %).")


def test_a_change_that_may_be_chance_is_called_so(ledger):
    assert "which may be chance" in next(sentences(with_metrics(ledger, change_low=-0.1)))
    assert "which may be chance" not in next(sentences(with_metrics(ledger, change_low=-2.0, change_high=-0.1)))


def test_a_change_of_one_prompt_has_no_interval(ledger, evidence):
    alone = with_metrics(ledger, heldout_prompts=1, change_low=None, change_high=None)
    assert next(sentences(alone)).endswith("logits on 1 held-out prompt (no interval: one prompt does not tell what is chance).")
    assert "does not tell what is chance" in render_policy_card(alone, evidence, templated=True)
    assert "does not tell what is chance" in render(alone, evidence, "serrun.yaml")


def test_a_stop_by_reward_hacking_is_told(ledger):
    *_, last = sentences(with_metrics(ledger, stopped="PolicyTooFar", kept_step=25))
    assert last == "PPO was stopped after step 30 by a sign of reward hacking (PolicyTooFar); the policy after step 25 was kept."


def test_who_judged_is_said(ledger):
    assert next(caveats(ledger)).startswith("The policy was judged by the reward model that it learnt from")
    assert "ppo: the critic starts from the policy" in list(caveats(ledger))


def test_a_reward_model_that_may_be_a_coin_is_a_caveat_of_its_policy(ledger):
    told = "That reward model may be no better than a coin: its held-out interval reaches one half; "
    told += "then the policy has learnt its errors alone."
    heldout = ledger.best.metrics.heldout.model_copy(update={"accuracy_low": 0.43})
    best = replace(ledger.best, metrics=ledger.best.metrics.model_copy(update={"heldout": heldout}))
    assert told not in list(caveats(ledger))
    assert told in list(caveats(Ledger(ledger.run, {**ledger.stages, best.key: best})))


def test_the_card_tells_how_to_ask_and_what_was_measured(ledger, evidence):
    card = render_policy_card(ledger, evidence, templated=True)
    assert "| this policy | 1.250 | 6.50 | 24.0 | 87.5 % | 75.0 % |" in card
    assert f" of 200 pairs (95 % interval {spread(ledger.best.metrics.heldout)}) |" in card
    assert "temperature=0.7" in card
    assert f"a prompt of more than {ledger.run.spec.policy.prompt_tokens} tokens lost its beginning" in card
    assert "base_model: org/policy" in card
    assert "hf://org/policy@0123" in card
    assert ledger.policy.ref.sha256 in card


def test_a_policy_that_is_not_there_is_not_exported(stored_run, tmp_path):
    with pytest.raises(SpecError, match=r"has no aligned policy: its spec\.policy is null"):
        export_policy(stored_run.store, read_ledger(stored_run.store, stored_run.run), tmp_path)
