"""A small finished run in a folder, as its stages would have left it: everything that reads a run back is tested on it."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from ser_core.api.serrun import SERRun
from ser_core.api.stage import FilterMetrics, LabelMetrics, PrepareMetrics, RetrainMetrics, RunIdentity, StageResult
from ser_core.api.status import LearningStatus, Monitors, Outcome, Phase, StageKind
from ser_core.data.preparing.pairs.validation import pair_id
from ser_core.data.tables import Decision, EvaluatedPair, LabeledPair, PairScores, PoolPair, TrainingStep, write_table
from ser_core.learn.evaluation.evaluation import evaluate, report
from ser_core.learn.evaluation.paired import log_losses, paired_loss
from ser_core.loop.observed import Leg, Observed, ObservedAttempt
from ser_core.loop.plan import plan
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import save_run
from ser_core.store.stages.commit import commit, upload_outputs
from ser_core.store.stages.manifest import Manifest, stage_prefix

HOSTILE = '<script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>'
POOL, HELDOUT = 300, 200
QUALITY = {(0, StageKind.RETRAIN): 0.7, (1, StageKind.RETRAIN): 1.1, (2, StageKind.RETRAIN): 1.5, (0, StageKind.CONTROL_FULL): 2.2}


@dataclass(frozen=True)
class Stored:
    """A SERRun file, and what its run left in the store."""

    file: Path
    run: SERRun
    store: object
    folder: Path
    results: dict
    """What each of its stages reported, by iteration and stage."""


class Writer:
    """Commits stages the way the stage runtime does."""

    def __init__(self, store, identity, folder):
        self.store, self.identity, self.folder = store, identity, folder
        self.minute = 0
        self.results = {}

    def stage(self, kind, iteration, metrics, files):
        folder = self.folder / f"{iteration}-{kind}"
        folder.mkdir()
        paths = {}
        for name, content in files.items():
            paths[name] = folder / name.replace("/", "-")
            content(paths[name]) if callable(content) else paths[name].write_bytes(content)
        log = f"{stage_prefix(self.identity, iteration, kind)}/attempt-1-0123abcd/log.jsonl"
        self.store.put(log, b'{"time":"2026-01-31T12:00:00.000+00:00","event":"started","stage":"%s"}\n' % kind.value.encode())
        self.minute += 1
        manifest = Manifest(
            run=self.identity,
            stage=kind,
            iteration=iteration,
            attempt=1,
            writer="w",
            inputs={},
            outputs=upload_outputs(self.store, self.identity, iteration, kind, 1, paths),
            metrics=metrics,
            code_version="0.1.0",
            seed=0,
            threads=2,
            started_at=f"2026-01-31T12:{self.minute:02}:00Z",
            finished_at=f"2026-01-31T12:{self.minute:02}:42Z",
            log=log,
        )
        committed = commit(self.store, manifest)
        self.results[iteration, kind] = StageResult(outcome="done", manifest=committed.ref, metrics=metrics)
        return committed


def heldout_pairs(quality, source="docs"):
    """Pairs whose score differences are right the more often the higher ``quality``; the noise is the same for all models."""
    random = np.random.default_rng(7)
    difference = quality + random.normal(size=HELDOUT) * 1.2
    longer = random.integers(5, 60, size=(HELDOUT, 2))
    return [
        EvaluatedPair(f"h{row}", source if row % 2 else f"{source} {HOSTILE}", float(gap), 0.0, int(longer[row, 0]), int(longer[row, 1]))
        for row, gap in enumerate(difference)
    ]


def decisions(iteration):
    random = np.random.default_rng(iteration)
    gaps = random.normal(size=POOL) * 3
    confidence = 1 / (1 + np.exp(-np.abs(gaps)))
    return [
        Decision(
            id=f"p{row:04}",
            score_1=float(gap),
            score_2=0.0,
            better=1 if gap > 0 else 2,
            confidence=float(confidence[row]),
            status=1 if confidence[row] > 0.8 else 2 if confidence[row] > 0.65 else 0,
            kept=bool(confidence[row] >= 0.9),
            target=float(confidence[row]),
            weight=1.0,
            agrees=bool(random.random() < confidence[row]),
        )
        for row, gap in enumerate(gaps)
    ]


def retrain_metrics(quality, notes=()):
    pairs = heldout_pairs(quality)
    return RetrainMetrics(
        steps=60,
        seed_pairs=90,
        self_labeled_pairs=0,
        truncated=0,
        temperature=1.25,
        dev=evaluate(pairs[:60], 1.25, None, {}),
        heldout=evaluate(pairs, 1.25, None, {}),
        notes=notes,
    )


def cross_fitted_metrics(iteration):
    """Those of a loop under rule calibrated: fold models decide, against those of the loop before."""
    kind = StageKind.RETRAIN
    metrics = retrain_metrics(QUALITY[iteration, kind]).model_copy(update={"folds": 4})
    if not iteration:
        return metrics
    before, after = (log_losses(heldout_pairs(QUALITY[loop, kind])[:60]) for loop in (iteration - 1, iteration))
    compared = paired_loss(before, after, {})
    return metrics.model_copy(update={"loss_gain": compared.gain, "loss_gain_error": compared.error})


def retrain_files(quality, model):
    pairs = heldout_pairs(quality)
    steps = [TrainingStep(step, 0.7 * 0.98**step, 1e-4, 1.0, 8, 512) for step in range(60)]
    return {
        "heldout_scores.parquet": lambda path: write_table(path, EvaluatedPair, pairs),
        "training.parquet": lambda path: write_table(path, TrainingStep, steps),
        "evaluation.json": json.dumps({"dev": report(pairs[:60], 1.25), "heldout": report(pairs, 1.25)}).encode(),
        **{f"model/{path.name}": path.read_bytes() for path in sorted(model.iterdir())},
    }


def filter_metrics(rows):
    kept = [row for row in rows if row.kept]
    return FilterMetrics(
        learning_status=LearningStatus.STATUS_1,
        labeled=POOL,
        status1=sum(row.status == 1 for row in rows),
        status2=sum(row.status == 2 for row in rows),
        kept=len(kept),
        kept_fraction=len(kept) / POOL,
        threshold=0.9,
        agreement=sum(row.agrees for row in kept) / len(kept),
        agreement_all=sum(row.agrees for row in rows) / POOL,
        notes=("not significant: 18 of 20 calibration pairs are right",),
        monitors=Monitors(same_labels=0.912, score=0.0025, margin=1.5, confidence=0.953, as_sure=44, right=0.909, easier=0.7),
    )


SEED_PAIR = ("what is it", "good word", "bad")
"""Prompt, chosen and rejected answer of the one pair of the seed that is stored."""


def write_run(folder, model):
    """A run of two loops in ``folder``; ``model`` is the folder of its reward models' files."""
    spec = {
        "rewardModel": {"base": f"file://{model}", "maxLength": 32, "precision": "fp32"},
        "data": {"source": {"uri": f"file://{folder}/pairs.jsonl", "seedFraction": 0.2}},
        "loop": {"maxIterations": 2, "rule": "calibrated", "controls": ["full"]},
        "storage": {"uri": f"file://{folder}/store"},
    }
    document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "small"}, "spec": spec}
    file = folder / "serrun.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    run = SERRun.model_validate({**document, "metadata": {"name": "small", "uid": "0123456789abcdef"}})
    failures = {(1, StageKind.LABEL, 1): {"exit_code": 137, "out_of_memory": True}}
    store = connect(run.spec.storage)
    write = Writer(store, RunIdentity(namespace="default", name="small", uid=run.metadata.uid), folder / "parts")
    write.folder.mkdir()
    write_prepare(write)
    for iteration in range(3):
        if iteration:
            write_labels(write, iteration)
        quality = QUALITY[(iteration, StageKind.RETRAIN)]
        write.stage(StageKind.RETRAIN, iteration, cross_fitted_metrics(iteration), retrain_files(quality, model))
    full = QUALITY[(0, StageKind.CONTROL_FULL)]
    write.stage(StageKind.CONTROL_FULL, 0, retrain_metrics(full), retrain_files(full, model))
    run = without_digests(planned(run, write.results, failures))
    save_run(store, run)
    return Stored(file, run, store, folder, write.results)


def write_prepare(write):
    source = {
        "uri": "file:///data/pairs.jsonl",
        "pinned": "file:///data/pairs.jsonl",
        "found": "jsonl, preference pairs with explicit prompt, text",
        "files": [{"name": f"pairs {HOSTILE}.jsonl", "bytes": 9, "sha256": "ab" * 32}],
        "leftOut": [],
        "rows": 640,
        "dropped": {"Duplicate": 20},
    }
    provenance = {"baseModel": {"pinned": "hf://org/tiny@0123", "modelType": "bert", "files": []}, "data": {"source": source}}
    sizes = {"seed": 90, "dev": 30, "pool": POOL, "heldout": HELDOUT}
    metrics = PrepareMetrics(found="jsonl", rows=640, hidden_labels=True, dropped={"Duplicate": 20}, warnings=("few pairs",), **sizes)
    pool = [PoolPair(f"p{row:04}", f"prompt {row} {HOSTILE}", f"one {HOSTILE}", f"two {HOSTILE}", "docs") for row in range(POOL)]
    seed = [LabeledPair(pair_id(*SEED_PAIR), *SEED_PAIR, "docs")]
    files = {
        "seed.parquet": lambda path: write_table(path, LabeledPair, seed),
        "dev.parquet": lambda path: write_table(path, LabeledPair, []),
        "pool.parquet": lambda path: write_table(path, PoolPair, pool),
        "provenance.json": json.dumps(provenance).encode(),
    }
    write.stage(StageKind.PREPARE, 0, metrics, files)


def write_labels(write, iteration):
    rows = decisions(iteration)
    scores = [PairScores(row.id, row.score_1, row.score_2, 9, 9) for row in rows]
    labels = {"labels.parquet": lambda path: write_table(path, PairScores, scores)}
    write.stage(StageKind.LABEL, iteration, LabelMetrics(labeled=POOL, truncated=0), labels)
    write.stage(StageKind.FILTER, iteration, filter_metrics(rows), {"decisions.parquet": lambda path: write_table(path, Decision, rows)})


def planned(run, results, failures, waiting=None):
    """The run as the planner leaves it.

    Args:
        run: The run without a status.
        results: What each stage reports, by iteration and stage. One that is not among them is never begun.
        failures: What was seen of attempts that failed, by iteration, stage and attempt.
        waiting: Why a stage does not begin.
    """
    now, seen = datetime(2026, 1, 31, 12, tzinfo=UTC), []
    while True:
        held_back = bool(seen) and seen[-1].state == "running"
        step = plan(run, Observed(tuple(seen), waiting if held_back else None), now)
        run = run.model_copy(update={"status": step.status})
        if held_back or run.status.phase is Phase.COMPLETED:
            return run
        seen += [observed(action, results, failures, now) for action in step.actions]
        now = seen[-1].finished_at or now if step.actions else now + timedelta(seconds=step.requeue_after or 0)


def without_digests(run):
    """``run`` tied to none of its manifests but the best model's, since tests add to them and change them."""
    status = run.status
    failed = tuple(row for row in status.stages if row.outcome is not Outcome.DONE)
    controls = tuple(row.model_copy(update={"digest": ""}) for row in status.controls)
    return run.model_copy(update={"status": status.model_copy(update={"stages": failed, "controls": controls, "digests": ()})})


def observed(action, results, failures, now):
    """The end of the attempt that ``action`` starts."""
    spec, failed = action.spec, failures.get((action.spec.iteration, action.spec.stage, action.spec.attempt))
    attempt = ObservedAttempt(spec.iteration, spec.stage, spec.attempt, action.job, "running")
    later = now + timedelta(seconds=300 if failed else 105)
    ended = {"started_at": now, "finished_at": later, "legs": (Leg(now, later),)}
    if failed:
        return replace(attempt, state="failed", **ended, **failed)
    result = results.get((spec.iteration, spec.stage))
    return replace(attempt, state="succeeded", exit_code=0, result=result, **ended) if result else attempt


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A random BERT of one layer with a vocabulary of ten words, as a transformers folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("small-model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "is", "good", "bad", "word", "it"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special).save_pretrained(folder)
    set_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=64, num_labels=1, pad_token_id=0, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stored_run(tmp_path_factory):
    """A completed run of two loops and the control `full`. Its reward models hold no weights. Do not change it."""
    model = tmp_path_factory.mktemp("no-weights")
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    (model / "tokenizer_config.json").write_text(json.dumps({"cls_token": "[CLS]", "sep_token": "[SEP]", "model_max_length": 64}))
    return write_run(tmp_path_factory.mktemp("stored-run"), model)


@pytest.fixture
def writable_run(tmp_path, small_model):
    """The same with a real small model, for a test's own use."""
    return write_run(tmp_path, small_model)


@pytest.fixture(scope="session")
def hostile():
    """Text that stands in every sample pair, in a source's name and in a file's name."""
    return HOSTILE
