"""JSON that is nested too deep is read all the same, but for what is too deep."""

import json

import pytest

from ser_core.deep_json import LEVELS, Decoder

DEEP = 9_998


def depth(value):
    levels = 0
    while isinstance(value, dict | list):
        value, levels = next(iter(value.values() if isinstance(value, dict) else value), None), levels + 1
    return levels


@pytest.mark.parametrize(("opened", "closed"), [('{"a":', "}"), ("[", "]"), ('{"}]\\\\\\"{": ', "}")])
def test_what_is_too_deep_becomes_null_and_the_rest_is_there(opened, closed):
    text = f'{{"before": "{{[", "deep": {opened * DEEP}1{closed * DEEP}, "after": [1, {{"b": "\\\\"}}]}}'

    found = Decoder().decode(text)

    assert (found["before"], found["after"]) == ("{[", [1, {"b": "\\"}])
    assert depth(found["deep"]) == LEVELS - 1


def test_other_json_is_read_as_ever():
    assert Decoder().decode(' {"a": [1.5, "x", null]} ') == {"a": [1.5, "x", None]}
    with pytest.raises(json.JSONDecodeError):
        Decoder().decode("[1")
