"""Prompts of a policy, read from a file of their own."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from ser_core.api.serrun import HubSpec, StorageSpec
from ser_core.data.preparing.prompts import read_prompts
from ser_core.data.reading.locations import Access
from ser_core.errors import DataError


@pytest.fixture
def read(tmp_path):
    def run(*rows, heldout=(), limit=0.1):
        file = tmp_path / "prompts.jsonl"
        file.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
        access = Access(StorageSpec(uri=f"file://{tmp_path}/store"), HubSpec())
        return read_prompts(f"file://{file}", access, tmp_path / "work", heldout, limit, lambda: None)

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
    assert read(*rows, {"question": "x"}).provenance["dropped"] == {"NoPrompt": 1}
    with pytest.raises(DataError, match=r"prompts\.jsonl, line 10: .*1 of 10 rows of policy\.prompts cannot be used") as caught:
        read(*rows, {"question": "x"}, limit=0.05)
    assert caught.value.reason == "NoPrompt"


def test_a_file_without_the_column_is_told_of_those_that_are_there(read):
    with pytest.raises(DataError, match="no column prompt with text or messages, but the columns 'question', 'id';") as caught:
        read({"question": "x", "id": 1}, {"question": "y", "id": 2})
    assert caught.value.hint == "rename the column with the prompts to prompt"


def test_a_parquet_file_without_the_column_is_told_of_those_that_are_there(access, tmp_path):
    parquet.write_table(pa.table({"question": ["x", "y"]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="but the columns 'question'"):
        read_prompts(f"file://{tmp_path}/p.parquet", access, tmp_path / "work", (), 0.1, lambda: None)


def test_prompts_of_other_splits_alone_are_told_with_their_own_field(access, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/test.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match="only other splits than train") as caught:
        read_prompts(f"file://{tmp_path}/in", access, tmp_path / "work", (), 0.1, lambda: None)
    assert caught.value.hint == "name the file itself in policy.prompts.uri"


def test_a_file_of_held_out_prompts_alone_is_refused(read):
    with pytest.raises(DataError, match="no prompt that is not held out"):
        read({"prompt": "a"}, heldout=["A"])
