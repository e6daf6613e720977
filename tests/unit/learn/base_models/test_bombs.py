"""A model's settings of a few bytes that would take all time or memory are refused within limits, in a process of their own."""

import itertools
import json
import os
import shutil
import signal

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import check_base_model
from ser_core.errors import SpecError
from ser_core.learn.base_models import bounded, harm
from ser_core.learn.base_models.bounded import exceeded
from ser_core.learn.base_models.trial import try_reward_model

ACCESS = Access(StorageSpec(uri="file:///nowhere"), HubSpec())


def test_work_that_ends_exceeds_nothing_whatever_its_end():
    assert exceeded(lambda: 1, seconds=60, gigabytes=8) == ""
    assert exceeded(lambda: 1 // 0, seconds=60, gigabytes=8) == ""


def for_ever():
    while True:
        pass


def test_work_that_takes_too_much_is_ended():
    assert exceeded(for_ever, seconds=1, gigabytes=8) == "more than 1 s of processor time"
    assert exceeded(lambda: bytearray(3 * 10**9), seconds=60, gigabytes=1) == "more than 1 GB of memory"


def test_work_that_the_kernel_kills_took_more_memory_than_there_is():
    assert exceeded(lambda: os.kill(os.getpid(), signal.SIGKILL), seconds=60, gigabytes=8) == "more memory than there is"


def test_work_that_stands_still_is_ended_and_tells_nothing(monkeypatch):
    monkeypatch.setattr(bounded, "_STILL_SECONDS", 0)
    assert exceeded(signal.pause, seconds=60, gigabytes=8) == ""


def test_work_that_computes_is_waited_for_however_slow_the_machine(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(bounded, "_STILL_SECONDS", 0)
    monkeypatch.setattr(bounded, "_processor_time", lambda _: next(ticks))
    assert exceeded(for_ever, seconds=1, gigabytes=8) == "more than 1 s of processor time"


def test_the_processor_time_of_a_process_is_what_the_system_says():
    before = sum(os.times()[:2])
    taken = bounded._processor_time(os.getpid()) / os.sysconf("SC_CLK_TCK")
    assert before <= taken + 0.1 <= sum(os.times()[:2]) + 0.2


def change(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def growing(times):
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    return lambda folder: change(folder, "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [step] * times})


def with_tokens(number):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokens = [{"id": 2 + token, "content": f"<{token}>", "special": True, **flags} for token in range(number)]
    return lambda folder: change(folder, "tokenizer.json", added_tokens=tokens)


BOMBS = {
    "a letter becomes a terabyte": (growing(12), 120, 0.25, "to read a few lines of text takes more than 0.25 GB of memory"),
    "a letter becomes a page": (growing(3), 120, 8, r"makes 1\d\d,\d\d\d tokens of a line of text"),
    # Their file alone is 53 MB: a block of that size is never one that this process had and gave back to its allocator.
    "400,000 added tokens": (with_tokens(400_000), 120, 0.04, "to read a few lines of text takes more than 0.04 GB of memory"),
    "a million million layers": (lambda folder: change(folder, "config.json", num_hidden_layers=10**9), 3, 8, "more than 3 s of processor"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_its_limits(name, small_model, monkeypatch, tmp_path):
    lay, seconds, gigabytes, told = BOMBS[name]
    folder = shutil.copytree(small_model, tmp_path / "model")
    letters = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="[UNK]", pad_token="[UNK]", eos_token="[UNK]").save_pretrained(folder)
    lay(folder)
    monkeypatch.setattr(harm, "TRIAL_SECONDS", seconds)
    monkeypatch.setattr(harm, "TRIAL_GIGABYTES", gigabytes)
    spec = RewardModelSpec(base=f"file://{folder}", max_length=32)
    with pytest.raises(SpecError, match=told) as caught:
        try_reward_model(check_base_model(spec, ACCESS, tmp_path / "checked"), spec, tmp_path / "tried")
    assert caught.value.reason == "ModelNotSupported"
    assert caught.value.message.startswith("rewardModel.base: ")


def test_a_chat_template_without_end_is_refused_within_the_same_limits(qwen, monkeypatch, tmp_path):
    folder = shutil.copytree(qwen, tmp_path / "model")
    loops = [f"{{% for {name} in range(99999) %}}" for name in "abc"]
    (folder / "chat_template.jinja").write_text("".join(loops) + "{% endfor %}" * len(loops))
    monkeypatch.setattr(harm, "TRIAL_SECONDS", 2)
    spec = RewardModelSpec(base=f"file://{folder}", max_length=32, template="chat")
    with pytest.raises(SpecError, match="takes more than 2 s of processor time"):
        try_reward_model(check_base_model(spec, ACCESS, tmp_path / "checked"), spec, tmp_path / "tried")
