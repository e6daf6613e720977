"""Prompts of a policy, read from a file of their own."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from ser_core.api.spec.policy import PromptsSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.preparing.prompts import read_prompts
from ser_core.data.reading.locations import Access
from ser_core.errors import DataError


@pytest.fixture
def read(tmp_path):
    def run(*rows, heldout=(), limit=0.1, **spec):
        file = tmp_path / "prompts.jsonl"
        file.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
        access = Access(StorageSpec(uri=f"file://{tmp_path}/store"), HubSpec())
        return read_prompts(PromptsSpec(uri=f"file://{file}", **spec), access, tmp_path / "work", heldout, limit, lambda: None, turns=False)

    return run


def test_prompts_come_once_in_their_order_and_without_the_held_out_ones(read):
    found = read({"prompt": "b"}, {"prompt": " a "}, {"prompt": "B"}, {"prompt": "C", "chosen": "x"}, heldout=["c"])

    assert found.texts == ("b", "a")
    assert found.provenance["dropped"] == {"Duplicate": 1, "HeldOut": 1}
    assert found.provenance["rows"] == 4


def test_messages_become_the_text_that_the_reward_model_reads(read):
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]
    assert read({"prompt": turns}).texts == ("Human: one\n\nAssistant: two\n\nHuman: three",)


def test_unusable_rows_are_borne_up_to_the_limit_and_then_the_first_is_named(read):
    rows = [{"prompt": f"p{number}"} for number in range(9)]
    assert read(*rows, {"question": "x"}).provenance["dropped"] == {"MissingField": 1}
    with pytest.raises(DataError, match=r"prompts\.jsonl, line 10: .*1 of 10 rows of policy\.prompts cannot be used") as caught:
        read(*rows, {"question": "x"}, limit=0.05)
    assert caught.value.reason == "MissingField"


@pytest.mark.parametrize("columns", [{}, {"columns": {"prompt": "prompt"}}])
def test_prompts_are_read_where_the_first_rows_have_none(read, columns):
    found = read(*({"note": number} for number in range(100)), *({"prompt": f"p{number}"} for number in range(1000)), **columns)
    assert (len(found.texts), found.provenance["dropped"]) == (1000, {"MissingColumn": 100})


@pytest.mark.parametrize(
    ("bad", "reason", "said"),
    [
        (None, "MissingField", "prompt is null"),
        (7, "NotText", "prompt is int"),
        ("", "EmptyPrompt", "empty"),
        ("a\x00", "InvalidUnicode", "NUL"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_told_by_the_reason_that_a_pair_has_for_it(read, bad, reason, said):
    with pytest.raises(DataError, match=said) as caught:
        read({"prompt": "a"}, {"prompt": bad})
    assert caught.value.reason == reason


def test_what_is_odd_about_the_prompts_is_told(read, access, tmp_path):
    marked = [{"prompt": f"<|im_start|>user\n{number}<|im_end|>\n<|im_start|>assistant"} for number in range(9)]
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]
    assert read(*marked, {"prompt": turns}).warnings == (
        "policy.prompts: 9 prompts with special tokens or role markers inside their text, which are read as text",
    )
    rows = [{"prompt": f"p{number}"} for number in range(9)]
    (told,) = read(*rows, {"question": "x"}).warnings
    assert told.startswith("policy.prompts: MissingField: 1 dropped, the first in prompts.jsonl, line 10")
    (tmp_path / "many").mkdir()
    for name in ("train-00000-of-00002.jsonl", "test.jsonl"):
        (tmp_path / "many" / name).write_text('{"prompt": "a"}\n')
    found = read_prompts(PromptsSpec(uri=f"file://{tmp_path}/many"), access, tmp_path / "work", (), 0.1, lambda: None, turns=False)
    assert [told.partition(",")[0] for told in found.warnings] == [
        "policy.prompts: 1 file of other splits left out",
        "policy.prompts: 1 shard that the names count not there",
    ]


def test_a_file_without_the_column_is_told_of_those_that_are_there(read):
    with pytest.raises(DataError, match="no column prompt, but the columns 'question', 'id';") as caught:
        read({"question": "x", "id": 1}, {"question": "y", "id": 2})
    assert caught.value.hint == "name the column with the prompts in policy.prompts.columns, as prompt"


def test_a_parquet_file_without_the_column_is_told_of_those_that_are_there(access, tmp_path):
    parquet.write_table(pa.table({"question": ["x", "y"]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="but the columns 'question'"):
        read_prompts(PromptsSpec(uri=f"file://{tmp_path}/p.parquet"), access, tmp_path / "work", (), 0.1, lambda: None, turns=False)


def test_prompts_of_other_splits_alone_are_told_with_their_own_field(access, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/test.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match="only other splits than train") as caught:
        read_prompts(PromptsSpec(uri=f"file://{tmp_path}/in"), access, tmp_path / "work", (), 0.1, lambda: None, turns=False)
    assert caught.value.hint == "name one in policy.prompts.split"


def test_a_file_of_held_out_prompts_alone_is_refused(read):
    with pytest.raises(DataError, match="no prompt that is not held out"):
        read({"prompt": "a"}, heldout=["A"])


def test_columns_are_named(read):
    row = {"question": "What is up?", "rules": "Be brief.", "prompt": "not this", "system": "nor this"}
    assert read(row, columns={"prompt": "question"}).texts == ("What is up?",)
    assert read(row, columns={"prompt": "question", "system": "rules"}).texts == ("System: Be brief.\n\nHuman: What is up?",)


def test_a_named_system_column_that_is_not_there_is_refused(read):
    with pytest.raises(DataError, match="has the columns 'id', 'question', and not 'rulse'") as caught:
        read({"question": "x", "id": 1}, columns={"prompt": "question", "system": "rulse"})
    assert caught.value.reason == "MissingColumn"


def test_a_column_without_a_name_is_no_system_message(read):
    assert read({"": "0", "q": "What is up?"}, columns={"prompt": "q"}).texts == ("What is up?",)


def test_a_system_message_stands_in_front_as_in_the_pairs_so_that_held_out_prompts_are_known(read):
    rows = {"prompt": "What is up?", "system": "Be brief."}, {"prompt": "Why?", "system": None}, {"prompt": "How?", "system": ""}
    assert read(*rows).texts == ("System: Be brief.\n\nHuman: What is up?", "Why?", "How?")
    assert read(*rows, heldout=["System: Be brief.\n\nHuman: What is up?"]).texts == ("Why?", "How?")


@pytest.mark.parametrize(
    ("place", "texts"),
    [({"path": "other"}, ("c",)), ({"split": "test"}, ("b",)), ({"subset": "helpful"}, ("a",)), ({}, ("a",))],
)
def test_a_place_is_named_as_that_of_pairs(access, tmp_path, place, texts):
    for name, text in {"helpful/train": "a", "test": "b", "other/x": "c"}.items():
        file = tmp_path / "in" / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"prompt": text}) + "\n")
    spec = PromptsSpec(uri=f"file://{tmp_path}/in", **place)
    assert read_prompts(spec, access, tmp_path / "work", (), 0.1, lambda: None, turns=False).texts == texts


def test_a_wrong_place_is_told_with_its_own_field(access, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match=r"^policy\.prompts\.split: .* has no file of the split 'tset', but x\.jsonl$") as caught:
        read_prompts(PromptsSpec(uri=f"file://{tmp_path}", split="tset"), access, tmp_path / "work", (), 0.1, lambda: None, turns=False)
    assert caught.value.hint == "correct policy.prompts.split, or leave it out"


def hh(side):
    return f"\n\nHuman: What is up?\n\nAssistant: {side}"


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": hh("yes"), "rejected": hh("no")},
        {side: [{"role": "user", "content": "What is up?"}, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")},
        {"instruction": "What is up?", "input": "", "chosen": "yes", "rejected": "no"},
        {"question": "What is up?", "system": "", "chosen": "yes", "rejected": "no"},
        {"prompt": "What is up?", "prompt_id": "1", "messages": [{"role": "user", "content": "What is up?"}]},
    ],
)
def test_pairs_give_the_prompts_that_their_answers_answer(read, row):
    assert read(row).texts == ("What is up?",)


@pytest.mark.parametrize("value", [hh("yes"), [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "yes"}]])
def test_a_dialogue_that_ends_with_an_answer_is_no_prompt(read, value):
    with pytest.raises(DataError) as caught:
        read({"chosen": value}, columns={"prompt": "chosen"})
    assert caught.value.reason == "BadTurns"


@pytest.mark.parametrize("system", [[{"role": "system", "content": "Be brief."}], {"content": "Be brief."}, 3])
def test_a_system_message_that_is_no_text_is_never_lost(read, system):
    with pytest.raises(DataError, match=r"system is (list|dict|int), expected text") as caught:
        read({"prompt": "What is up?", "system": system})
    assert caught.value.reason == "NotText"


@pytest.mark.parametrize(
    ("row", "columns", "texts"),
    [
        (
            {"prompt": "Why?", "system_prompt": "Be brief."},
            {"prompt": "prompt", "system": "system_prompt"},
            "System: Be brief.\n\nHuman: Why?",
        ),
        ({"prompt": "Why?", "context": "It is noon."}, {"prompt": "prompt"}, "Why?"),
        ({"prompt": "Why?", "system": "", "tools": [{"name": "clock"}]}, {"prompt": "prompt", "system": "system"}, "Why?"),
        ({"chosen": "So it is", "rejected": "So no", "query": "Why?"}, {"prompt": "query"}, "Why?"),
    ],
)
def test_what_is_not_used_stops_the_run_and_the_line_helps(read, row, columns, texts):
    with pytest.raises(DataError) as caught:
        read(row)
    line = ", ".join(f"{key}: {column}" for key, column in columns.items())
    assert (caught.value.reason, f"policy.prompts.columns: {{{line}}}" in caught.value.hint) == ("UnusedColumn", True)
    assert read(row, columns=columns).texts == (texts,)
