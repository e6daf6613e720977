"""A small finished run in a folder, as its stages would have left it: everything that reads a run back is tested on it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from ser_core.api.serrun import SERRun
from ser_core.api.stage import FilterMetrics, LabelMetrics, PrepareMetrics, RetrainMetrics, RunIdentity
from ser_core.api.status import (
    Condition,
    ControlStatus,
    IterationStatus,
    LearningStatus,
    Monitors,
    Outcome,
    Phase,
    RewardModelStatus,
    SERRunStatus,
    StageKind,
    StageStatus,
)
from ser_core.data.preparing.pairs.validation import pair_id
from ser_core.data.tables import Decision, EvaluatedPair, LabeledPair, PairScores, PoolPair, TrainingStep, write_table
from ser_core.learn.evaluation.evaluation import evaluate, report
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


class Writer:
    """Commits stages the way the stage runtime does."""

    def __init__(self, store, identity, folder):
        self.store, self.identity, self.folder = store, identity, folder
        self.minute = 0

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
        return commit(self.store, manifest)


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


def write_run(folder, model, loops=2):
    """A run of ``loops`` loops in ``folder``; ``model`` is the folder of its reward models' files."""
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
    store = connect(run.spec.storage)
    write = Writer(store, RunIdentity(namespace="default", name="small", uid=run.metadata.uid), folder / "parts")
    write.folder.mkdir()
    write_prepare(write)
    refs = {}
    for iteration in range(loops + 1):
        quality = QUALITY[(iteration, StageKind.RETRAIN)]
        if iteration:
            write_labels(write, iteration)
        refs[iteration] = write.stage(StageKind.RETRAIN, iteration, retrain_metrics(quality), retrain_files(quality, model)).ref
    full = QUALITY[(0, StageKind.CONTROL_FULL)]
    write.stage(StageKind.CONTROL_FULL, 0, retrain_metrics(full), retrain_files(full, model))
    run = run.model_copy(update={"status": status_of(loops, refs[loops])})
    save_run(store, run)
    return Stored(file, run, store, folder)


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


def status_of(loops, best):
    """A status as the planner would have written it."""
    iterations = []
    for iteration in range(loops + 1):
        measured = retrain_metrics(QUALITY[(iteration, StageKind.RETRAIN)])
        kept = filter_metrics(decisions(iteration)) if iteration else None
        iterations.append(
            IterationStatus(
                iteration=iteration,
                learning_status=LearningStatus.STATUS_1 if iteration else LearningStatus.SEED,
                labeled=POOL if iteration else 0,
                kept=kept.kept if kept else 0,
                agreement=kept.agreement if kept else None,
                threshold=0.9 if iteration else None,
                dev_accuracy=measured.dev.accuracy,
                gain=None if iteration == 0 else 0.05,
                accuracy=measured.heldout.accuracy,
                accuracy_low=measured.heldout.accuracy_low,
                accuracy_high=measured.heldout.accuracy_high,
                temperature=1.25,
            )
        )
    full = retrain_metrics(QUALITY[(0, StageKind.CONTROL_FULL)]).heldout
    return SERRunStatus(
        phase=Phase.COMPLETED,
        iteration=loops,
        best_iteration=loops,
        learning_status=LearningStatus.STATUS_1,
        message="2 loops were made, as many as loop.maxIterations allows",
        conditions=(
            Condition(type="Ready", status="True", reason="Completed", message="done", last_transition_time="2026-01-31T12:20:00Z"),
            Condition(type="Stalled", status="False", reason="Completed", last_transition_time="2026-01-31T12:00:00Z"),
        ),
        reward_model=RewardModelStatus(uri=best.uri, manifest_sha256=best.sha256, accuracy=iterations[-1].accuracy),
        iterations=tuple(iterations),
        controls=(ControlStatus(control="full", accuracy=full.accuracy, accuracy_low=full.accuracy_low, accuracy_high=full.accuracy_high),),
        stages=(
            StageStatus(
                iteration=1,
                stage=StageKind.LABEL,
                attempt=1,
                outcome=Outcome.FAILED,
                charged=True,
                exit_code=20,
                reason="StoreUnavailable",
                message="[store] did not answer for 60 s",
            ),
        ),
        started_at="2026-01-31T12:00:00Z",
        finished_at="2026-01-31T12:20:00Z",
    )


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
