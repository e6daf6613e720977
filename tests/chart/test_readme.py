"""The chart's own papers: its README has the values as they are, and Chart.yaml says what Artifact Hub shows."""

import json

import pytest
import yaml
from chart.rendering import CHART

from chart_readme.__main__ import README, text
from chart_readme.values import Value, values
from ser_core.api.serrun import SERRun

FILE = yaml.safe_load((CHART / "Chart.yaml").read_text())


def test_the_table_of_values_is_the_generated_one():
    assert README.read_text() == text(README.read_text()), "run PYTHONPATH=charts python -m chart_readme"


def test_what_stands_around_the_table_is_kept():
    readme = README.read_text()

    assert text(readme.replace("| `clusterWide` |", "| `old` |") + "\nmore\n") == readme + "\nmore\n"


def test_a_value_has_its_meaning_form_and_default():
    file = (
        "# A section\n\nouter:\n  # not the meaning of the next\n\n  # -- Its meaning,\n  # in two lines.\n  inner: 3\n  undocumented: 4\n"
    )
    number = {"properties": {"inner": {"$ref": "#/$defs/small"}, "undocumented": {}}}
    schema = {"properties": {"outer": number}, "$defs": {"small": {"type": "integer", "minimum": 1}}}

    assert list(values(file, schema)) == [Value("outer.inner", "number, at least 1", "3", "Its meaning, in two lines.")]


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({"type": ["object", "null"]}, "map or null"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        ({"enum": ["a", "b"]}, "`a` or `b`"),
    ],
)
def test_the_form_is_the_schemas(schema, form):
    (found,) = values("# -- It.\nkey: null\n", {"properties": {"key": schema}})

    assert found.form == form


def test_a_default_that_is_too_long_is_left_to_the_file():
    (found,) = values(
        f"# -- It.\nkey: {json.dumps(list(range(100)))}\n", {"properties": {"key": {"type": "array", "items": {"type": "integer"}}}}
    )

    assert found.default == ""


def test_the_chart_says_where_it_comes_from():
    assert all(address.startswith("https://") for address in (FILE["home"], *FILE["sources"]))
    assert FILE["maintainers"]


def test_the_example_for_artifact_hub_is_a_serrun():
    (example,) = yaml.safe_load(FILE["annotations"]["artifacthub.io/crdsExamples"])
    crd, template = yaml.safe_load(FILE["annotations"]["artifacthub.io/crds"])

    SERRun.model_validate(example)
    assert (crd["kind"], f"ser.dev/{crd['version']}") == (example["kind"], example["apiVersion"])
    assert template["kind"] == "SERRunTemplate"
