"""What docs/data-formats.md shows is read as it says."""

import json

import yaml
from documents import shown
from unit.data.reading.test_formats import converted

from ser_core.api.spec.data import DataSpec
from ser_core.api.spec.policy import PolicySpec
from ser_core.data.reading.formats import RawPair
from ser_core.data.reading.layouts.finding import find_layout, read_pairs


def test_the_four_rows_are_the_same_pair():
    """Of the fourth the answers stand the other way round, and so does the label."""
    rows = [converted(json.loads(line)) for line in shown("docs/data-formats.md", "Columns", "json").text.splitlines()]
    better = {(one.prompt, *((one.answer_1, one.answer_2) if one.better == 1 else (one.answer_2, one.answer_1))) for one in rows}
    assert len(rows) == 4
    assert better == {("What is up?", "The sky.", "The floor.")}


def test_the_split_is_a_part_of_a_spec():
    shares = yaml.safe_load(shown("docs/data-formats.md", "How one source is split", "yaml").text)
    assert DataSpec.model_validate(shares["data"]).dev_fraction == 0.25


def test_a_place_and_columns_are_written_as_shown():
    place = yaml.safe_load(shown("docs/data-formats.md", "Where data come from", "yaml").text)
    columns = yaml.safe_load(shown("docs/data-formats.md", "Columns", "yaml").text)
    assert DataSpec.model_validate(place["data"]).source.split == "train_prefs"
    given = DataSpec.model_validate(columns["data"]).source.columns
    row = {"question": "What is up?", "good": "the sky", "bad": "the floor"}
    assert read_pairs(row, find_layout(row, "pairs.jsonl", given, labels_needed=True)) == [
        RawPair("What is up?", "the sky", "the floor", 1)
    ]


def test_weights_are_written_as_shown():
    given = DataSpec.model_validate(
        yaml.safe_load(shown("docs/data-formats.md", "Ties, weights and margins", "yaml").text)["data"]
    ).source.columns
    row = {"question": "What is up?", "a": "the sky", "b": "the floor", "score_a": 4, "score_b": 1.5}
    assert read_pairs(row, find_layout(row, "pairs.jsonl", given, labels_needed=True)) == [
        RawPair("What is up?", "the sky", "the floor", 1, 2.5)
    ]


def test_the_prompts_of_a_policy_are_written_as_shown():
    policy = yaml.safe_load(shown("docs/data-formats.md", "The prompts of a policy", "yaml").text)["policy"]
    assert PolicySpec.model_validate(policy).prompts.columns.prompt == "question"
