"""What the operator sends to the API server is JSON and YAML at once."""

import json

import pytest
import yaml

from ser_operator.cluster.transport import json_and_yaml


@pytest.mark.parametrize(
    "letter", ["é", "😀", "\x00", "\x7f", "\x85", "\x89", "\xad", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", '"', "\\", "\n"]
)
def test_any_text_means_the_same_as_json_and_as_yaml(letter):
    body = {f"key{letter}": [f"a{letter}b", letter]}
    assert json.loads(json_and_yaml(body)) == body
    assert yaml.safe_load(json_and_yaml(body)) == body
