"""Damaged model folders are used right, refused with a remedy, or told of: no traceback, and no weight that is not in the files.

`SER_FUZZ=2000` tries as many folders, `SER_FUZZ_FIRST` says from which seed on; a few dozen are tried without.
"""

import json
import os
import random
import shutil
import string
import traceback

import pytest
import torch
from safetensors.torch import load_file, save_file

from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import check_base_model, check_policy_base
from ser_core.errors import SERError
from ser_core.learn.base_models.trial import try_policy, try_reward_model
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_rows

EXAMPLES, FIRST = int(os.environ.get("SER_FUZZ", "36")), int(os.environ.get("SER_FUZZ_FIRST", "0"))
ACCESS = Access(StorageSpec(uri="file:///nowhere"), HubSpec())
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
JSON_FILES = ("config.json", "tokenizer_config.json", "tokenizer.json", "generation_config.json", "special_tokens_map.json", INDEX)
ODD = (None, -1, 0, 1, 3, 7.5, 10**12, True, "", "x", "gelu", [], [1, "a"], {}, {"a": 1}, "\ud800", float("nan"))
NEW_HEAD = ("score", "classifier", "pooler", "v_head", "dense")
LENGTH = 24


def change_json(name, change):
    def damage(folder, rng):
        path = folder / name
        if not path.exists():
            path.write_text("{}")
        try:
            content = json.loads(path.read_text())
        except ValueError:
            return
        path.write_text(json.dumps(change(content, rng)))

    return damage


def a_part(content, rng):
    """A dictionary somewhere inside, mostly near the top."""
    inner = [value for value in content.values() if isinstance(value, dict) and value]
    return a_part(rng.choice(inner), rng) if inner and rng.random() < 0.4 else content


def without_a_key(content, rng):
    part = a_part(content, rng)
    if part:
        del part[rng.choice(sorted(part))]
    return content


def with_an_odd_value(content, rng):
    part = a_part(content, rng)
    part[rng.choice([*sorted(part), "auto_map", "model_type", "chat_template", "weight_map", "eos_token", "dtype"])] = rng.choice(ODD)
    return content


def of_another_kind(content, rng):
    return content | {"model_type": rng.choice(["llama", "t5", "gpt2", "roberta", "mamba", "clip", "none", "deberta-v2", "qwen3"])}


def no_object(content, rng):
    return rng.choice(ODD[:-2])


def cut_file(name):
    def damage(folder, rng):
        if (folder / name).exists():
            content = (folder / name).read_bytes()
            (folder / name).write_bytes(content[: rng.randrange(len(content) or 1)])

    return damage


def garbled_file(name):
    def damage(folder, rng):
        if (folder / name).exists():
            content = bytearray((folder / name).read_bytes() or b"\0")
            for _ in range(rng.choice([1, 8, 64])):
                content[rng.randrange(min(len(content), rng.choice([16, 4096])))] = rng.randrange(256)
            (folder / name).write_bytes(bytes(content))

    return damage


def gone(name):
    return lambda folder, rng: (folder / name).unlink(missing_ok=True)


def as_folder(name):
    def damage(folder, rng):
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir(exist_ok=True)

    return damage


def change_weights(change):
    def damage(folder, rng):
        try:
            weights = load_file(folder / WEIGHTS)
        except Exception:  # damaged before
            return
        changed = change(weights, rng.choice(sorted(weights)), rng) if weights else weights
        save_file({name: one.clone().contiguous() for name, one in changed.items()}, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def other_name(weights, name, rng):
    word = "".join(rng.choices(string.ascii_lowercase + ".", k=3))
    return {(key.replace(name.split(".")[-2], word) if key == name else key): one for key, one in weights.items()}


def other_prefix(weights, name, rng):
    prefix = rng.choice(["module.", "_orig_mod.", "base_model.model.", "encoder.", "transformer.", "model.", "bert."])
    return {prefix + key: one for key, one in weights.items()}


def other_shape(weights, name, rng):
    one = weights[name]
    shaped = rng.choice([one.T, one.flatten(), one[:0], one[:1], one.unsqueeze(0), torch.cat([one, one])])
    return {**weights, name: shaped}


def other_type(weights, name, rng):
    kind = rng.choice([torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool])
    return {key: one.to(kind) if key == name or rng.random() < 0.2 else one for key, one in weights.items()}


def not_there(weights, name, rng):
    return {key: one for key, one in weights.items() if key != name}


def of_a_further_layer(weights, name, rng):
    return {**weights, name.replace(".0.", ".9."): weights[name]}


DAMAGES = [
    *(change_json(name, change) for name in JSON_FILES for change in (without_a_key, with_an_odd_value, no_object)),
    *[change_json("config.json", change) for change in (without_a_key, with_an_odd_value, of_another_kind)] * 4,
    *(do(name) for name in (*JSON_FILES, WEIGHTS) for do in (cut_file, garbled_file, gone, as_folder)),
    *[cut_file(WEIGHTS), garbled_file(WEIGHTS)] * 3,
    *[change_weights(one) for one in (other_name, other_prefix, other_shape, other_type, not_there, of_a_further_layer)] * 4,
]


def in_the_files(tensor, files):
    """Whether the numbers of a weight stand in one tensor of the files; in a part of it, transposed or not, in any type."""
    numbers = tensor.detach().flatten()[:64].double()
    return any(torch.isin(numbers, one.flatten().double()).all() for one in files.values())


def is_new(name):
    """Whether a weight may be new: that of a head."""
    return any(word in name for word in NEW_HEAD)


def tried_and_loaded(folder, work, asked, fp32):
    """The network of a folder that `validate` lets through."""
    reward = RewardModelSpec(base=f"file://{folder}", max_length=LENGTH)
    if asked == "reward model":
        try_reward_model(check_base_model(reward, ACCESS, work / "r"), reward, work / "rt")
        model = load(folder, fp32, max_length=LENGTH)
        assert score_rows(model, model.encoder.rows(["w1 w2"], ["w3"]), 64).shape == (1,)
        return model.network
    spec = PolicySpec(base=f"file://{folder}", prompt_tokens=12, answer_tokens=4, advantage="rloo", answers_per_prompt=2)
    tried = try_reward_model(check_base_model(reward, ACCESS, work / "r"), reward, work / "rt")
    try_policy(check_policy_base(spec, ACCESS, work / "p"), spec, tried, work / "pt")
    return load_policy(folder, fp32).network


def outcome(base, asked, work, seed, fp32):
    """What is wrong with how one damaged folder is taken; empty: nothing."""
    rng, folder = random.Random(seed), work / "model"
    shutil.copytree(base, folder)
    for damage in rng.choices(DAMAGES, k=rng.choice([1, 1, 2])):
        damage(folder, rng)
    try:
        network = tried_and_loaded(folder, work, asked, fp32)
    except SERError as error:
        return "" if error.hint else f"no remedy: {error.message}"
    except Exception as error:  # this is what is looked for
        return f"{type(error).__name__}: {error} ({traceback.format_exc(limit=-3)})"
    files = load_file(folder / WEIGHTS)
    strangers = [name for name, one in network.named_parameters() if not is_new(name) and not in_the_files(one, files)]
    return f"weights that are not in the files: {strangers}" if strangers else ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "asked"), [("bert", "reward model"), ("qwen", "reward model"), ("qwen", "policy")])
def test_a_damaged_folder_is_used_right_or_refused(kind, asked, request, tmp_path, fp32):
    base, found = request.getfixturevalue(kind), {}
    for seed in range(FIRST, FIRST + EXAMPLES // 3):
        found[seed] = outcome(base, asked, tmp_path / str(seed), seed, fp32)
        shutil.rmtree(tmp_path / str(seed))
    assert {seed: why for seed, why in found.items() if why} == {}
