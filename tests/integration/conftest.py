"""A tiny run on real parts: a random BERT, a few hundred separable pairs, a store in a folder."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

WORDS = [f"{head}{tail}" for head in ("ba", "ko", "li", "mu", "ne", "po", "ra", "si") for tail in ("lan", "mer", "tis", "vok")]
GOOD = ("helpful", "clear", "right")
BAD = ("rude", "vague", "wrong")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("model")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS, *GOOD, *BAD])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=64
    )
    fast.save_pretrained(folder)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=1,
        pad_token_id=0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    """240 pairs; an answer with a good word beats one with a bad word."""
    order = random.Random(0)
    sentence = lambda extra: " ".join([*order.sample(WORDS, 5), extra, *order.sample(WORDS, 3)])  # noqa: E731
    rows = [
        {"prompt": " ".join(order.sample(WORDS, 6)), "chosen": sentence(order.choice(GOOD)), "rejected": sentence(order.choice(BAD))}
        for _ in range(240)
    ]
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@dataclass(frozen=True)
class Run:
    """A SERRun file and its store."""

    file: Path
    store: Path

    def ser(self, *arguments, timeout=240):
        return subprocess.run([sys.executable, "-m", "ser_core.cli.app", *arguments], capture_output=True, text=True, timeout=timeout)

    def start(self):
        command = [sys.executable, "-m", "ser_core.cli.app", "run", str(self.file)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def manifests(self):
        """Every manifest of the run by its place, without UID, attempt, writer and times."""
        from ser_core.store.manifest import Manifest

        found = sorted(self.store.glob("default/*/*/iter-*/*/MANIFEST.json"))
        return {"/".join(path.parts[-3:-1]): Manifest.model_validate_json(path.read_bytes()).comparable() for path in found}

    def change(self, edit):
        content = yaml.safe_load(self.file.read_text())
        edit(content["spec"])
        self.file.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="session")
def make_run(tiny_model, pairs_file):
    """Makes a run of one loop with a store of its own below a folder; ``edit`` may change the spec."""

    def make(folder, edit=lambda spec: None):
        spec = {
            "rewardModel": {"base": f"file://{tiny_model}", "maxLength": 32, "precision": "fp32"},
            "data": {"source": {"uri": f"file://{pairs_file}", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            "training": {"epochs": 3, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
            "loop": {"maxIterations": 1, "rule": "calibrated", "controls": ["seedOnly"]},
            "resources": {kind: {"cpu": "1"} for kind in ("prepare", "label", "filter", "retrain")},
            "storage": {"uri": f"file://{folder}/store"},
        }
        edit(spec)
        file = folder / "serrun.yaml"
        file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "tiny"}, "spec": spec}))
        return Run(file, folder / "store")

    return make


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, make_run):
    """A run to which nothing happens, made once."""
    run = make_run(tmp_path_factory.mktemp("undisturbed"))
    ended = run.ser("run", str(run.file))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return run
