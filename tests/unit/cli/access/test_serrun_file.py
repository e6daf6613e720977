"""Bad YAML is refused with file, line, field, value and remedy."""

import textwrap
from pathlib import Path

import pytest
from documents import shown

from ser_core.cli.access.serrun_file import located, read_serrun
from ser_core.errors import DataError, SpecError

GOOD = """\
apiVersion: ser.dev/v1alpha1
kind: SERRun
metadata: {name: hh}
spec:
  rewardModel: {base: file://./model}
  data: {source: {uri: file://../pairs.jsonl}}
  storage: {uri: file:///store}
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "serrun.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_serrun(path)

    return read_text


def test_relative_files_are_beside_the_yaml(read, tmp_path):
    spec = read(GOOD).spec
    assert spec.reward_model.base == f"file://{tmp_path}/model"
    assert spec.data.source.uri == f"file://{tmp_path.parent}/pairs.jsonl"
    assert spec.storage.uri == "file:///store"


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.0e-4", "0.0001", "+1e-4"])
def test_a_number_in_scientific_notation_is_a_number(read, number):
    assert read(GOOD + f"  training: {{learningRate: {number}}}\n").spec.training.learning_rate == 1e-4


@pytest.mark.parametrize("prepared", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode()], ids=["BOM", "CRLF"])
def test_files_of_other_editors_are_read(read, prepared):
    assert read(prepared).metadata.name == "hh"


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("  trainig: {epochs: 1}", "8: spec.trainig: is no field; did you mean training?"),
        ("  loop: {max_iterations: 3}", "8: spec.loop.max_iterations: is no field; did you mean maxIterations?"),
        ("  loop:\n    maxIterations: 40", "9: spec.loop.maxIterations: 40: input should be less than or equal to 32"),
        ("  loop: {rule: best}", "spec.loop.rule: 'best': input should be 'calibrated', 'paper' or 'reference'"),
        ("  loop: {controls: [full, everything]}", "spec.loop.controls[1]: 'everything'"),
        ("  training: {epochs: two}", "spec.training.epochs: 'two'"),
        ("  training: {learningRate: .nan}", "spec.training.learningRate: nan"),
        ("  loop: {thresholds: {low: 0.9}}", "low 0.9 must be below high 0.55"),
        ("  policy: {base: x}", "spec.policy.base: 'x' has no scheme: expected one of s3://, hf://, file://, such as 'file://./x'"),
        ("  policy: {base: file:///}", "lies inside policy.base"),
        ("  storage: {uri: file:///again}", "8: spec.storage occurs twice (first in line 7)"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(read, addition, message):
    with pytest.raises(SpecError) as caught:
        read(GOOD + addition + "\n")
    assert message in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 10


def test_all_problems_are_told_at_once(read):
    with pytest.raises(SpecError) as caught:
        read(GOOD + "  training: {epochs: 0, loss: none}\n  loop: {maxIterations: 0}\n")
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "NotASERRun"),
        ("- a list", "NotASERRun"),
        ("kind: Pod", "NotASERRun"),
        (GOOD.replace("v1alpha1", "v9"), "NotASERRun"),
        (GOOD + "---\n" + GOOD, "NotASERRun"),
        ("a: [1", "NotYAML"),
        ("spec:\n\tx: 1", "NotYAML"),
        (b"\xff\xfe", "UnreadableFile"),
        (GOOD.replace("metadata: {name: hh}", "metadata: &a {name: hh}"), "SpecError"),
        (GOOD.replace("metadata: {name: hh}\n", ""), "InvalidSERRun"),
        (GOOD.replace("name: hh", "name: HH"), "InvalidSERRun"),
    ],
)
def test_what_is_no_serrun_is_refused(read, text, reason):
    with pytest.raises(SpecError) as caught:
        read(text)
    assert caught.value.reason == reason


ROW = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


@pytest.mark.parametrize("data", [ROW, ROW * 2, f"[{ROW}]", "prompt,chosen\na,b\n", 'prompt,chosen\n"a: b",c\n', b"\x1f\x8b\x08"])
def test_data_in_place_of_a_serrun_is_told_where_it_belongs(read, data):
    with pytest.raises(SpecError) as caught:
        read(data)
    assert "data.source.uri" in caught.value.hint


def test_a_broken_serrun_is_told_how_to_write_yaml(read):
    with pytest.raises(SpecError, match="no YAML") as caught:
        read(GOOD + "\tx: 1")
    assert "indent with spaces" in caught.value.hint


def test_an_empty_file_says_what_to_begin_with(read):
    with pytest.raises(SpecError, match=r"serrun\.yaml:1: is empty") as caught:
        read("# nothing yet\n")
    assert "apiVersion" in caught.value.hint


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("spec.storage.uri was 'a' and cannot become 'b'", "{file}:7: spec.storage.uri was"),
        ("rewardModel.maxLength 9 is more than the model takes", "{file}:5: rewardModel.maxLength 9"),
        ("data.source.splitBy is 'topic'", "{file}:6: data.source.splitBy"),
        ("data.source.columns.score_1 is no name", "{file}:6: data.source.columns.score_1"),
        ("data.source: is empty", "{file}:6: data.source: is empty"),
        *((message, message) for message in ("pairs.jsonl, line 3: broken", "data.json, line 3: broken", "data.json has the columns 'a'")),
        *(
            (message, message)
            for message in ("data, line 3: broken", "data/train.jsonl: broken", "data.source/a.csv: broken", "data-0: broken")
        ),
        ("file:///store is full", "file:///store is full"),
    ],
)
def test_an_error_that_begins_with_a_field_gets_its_line(tmp_path, message, shown):
    file = tmp_path / "serrun.yaml"
    file.write_text(GOOD)
    with pytest.raises(DataError) as caught, located(file):
        raise DataError(message, reason="Bad", hint="remedy")
    assert caught.value.message.startswith(shown.format(file=file))
    assert (caught.value.reason, caught.value.hint) == ("Bad", "remedy")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.yaml: no such file"):
        read_serrun(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("rewardModel: {base: model}", "no scheme: expected one of s3://, hf://, file://, such as 'file://./model'"),
        ("rewardModel: {base: a/b@1}", "such as 'hf://a/b@1' or 'file://./a/b@1'"),
        ("rewardModel: {base: /a/b}", "such as 'file:///a/b'"),
        ("storage: {uri: file://~/runs}", f"begins with ~, which is not expanded: write file://{Path.home()}/runs"),
        ("storage: {uri: file://~nobody-here/runs}", "write file:///absolute/path"),
        ("rewardModel: {base: file://model}", "write file:///model or file://./model"),
        ("data: {source: {uri: http://x/y}}", "scheme 'http'"),
        ("data: {seed: {uri: file:///a}}", "unlabeled, heldout missing"),
        ("data: {source: {uri: file:///a, seedFraction: 0.9, heldoutFraction: 0.2}}", "leaves no pool"),
        ("storage: {uri: hf://a/b}", "expected one of s3://, file://"),
    ],
)
def test_a_wrong_uri_says_what_to_write(read, line, remedy):
    replaced = textwrap.indent(line, "  ")
    field = line.split(":")[0]
    kept = [old for old in GOOD.splitlines() if not old.strip().startswith(f"{field}:")]
    with pytest.raises(SpecError) as caught:
        read("\n".join([*kept, replaced]) + "\n")
    assert remedy in caught.value.message


@pytest.mark.parametrize("field", ["hub", "policy", "training", "queueName"])
def test_null_means_left_out_as_on_a_cluster(read, field):
    assert read(GOOD + f"  {field}: null\n").spec == read(GOOD).spec


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            "{name: My_Run}",
            "serrun.yaml:3: metadata.name: 'My_Run' is no name: use lower-case letters, digits, '-' and '.', such as team-a",
        ),
        ("{name: hh, namespace: a.b}", "serrun.yaml:3: metadata.namespace: 'a.b' is no namespace: use lower-case letters"),
        ("{name: 3}", "serrun.yaml:3: metadata.name: 3: expected text: write a number, or a word such as yes, in quotes"),
        ("{name: yes}", "serrun.yaml:3: metadata.name: True: expected text: write a number, or a word such as yes, in quotes"),
    ],
)
def test_a_bad_name_is_refused_in_words(read, metadata, message):
    with pytest.raises(SpecError) as caught:
        read(GOOD.replace("{name: hh}", metadata))
    assert message in caught.value.message


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HIDDEN = {
    "as it is": BOMB,
    "after a quote": f"z: 'a'' # '\n{BOMB}",
    "in a list": "z: [\n  &a x,*a]\n",
    "as a key": "? &a x\n: *a\n",
    "behind a tag": "z: !!str &a x\ny: !!str\n  *a\n",
    "merged": "z: &a {b: 1}\ny: {<<: *a}\n",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_no_bomb_of_aliases_goes_off_however_it_is_hidden(read, text):
    with pytest.raises(SpecError, match=r"anchors or aliases|no YAML"):
        read(GOOD + text)


@pytest.mark.parametrize("size", [6000, 400_000])
@pytest.mark.parametrize(
    ("piece", "told"),
    [
        ("[", "is nested too deep"),
        ("{a: ", "is nested too deep"),
        ("? ", "is nested too deep"),
        ("1", "holds a number of"),
        ("1:", "holds a number of"),
        ("0x1", "holds a number of"),
        ("1:1.", "holds a number of"),
    ],
)
def test_a_text_that_takes_more_time_than_its_size_tells_is_refused(read, piece, told, size):
    with pytest.raises(SpecError, match=told) as caught:
        read(f"{GOOD}  x: {'' if piece != '? ' else chr(10) + '    '}{piece * (size // len(piece))}{'1' if piece.endswith(':') else ''}\n")
    assert caught.value.hint


def test_a_long_text_of_digits_in_quotes_is_a_text(read):
    assert read(GOOD.replace("{name: hh}", f"{{name: hh, labels: {{a: '{'1' * 63}'}}, annotations: {{b: '{'1' * 200}'}}}}"))


def test_a_long_name_of_letters_is_no_number(read):
    with pytest.raises(SpecError, match=r"metadata.name: 'a+… is 300 characters long: at most 253"):
        read(GOOD.replace("hh", "a" * 300))


def test_an_asterisk_in_a_text_is_no_alias(read):
    assert read("# *a and &b\n" + GOOD + "  hub: {endpoint: 'https://a/*b'}\n").spec.hub.endpoint == "https://a/*b"


TEMPLATE = """\
---
apiVersion: ser.dev/v1alpha1
kind: SERRunTemplate
metadata: {name: team}
spec:
  resources: {retrain: {gpus: 2}}
  storage: {region: eu}
"""
NAMED = GOOD + "  templateRef: {name: team}\n"


@pytest.mark.parametrize("text", [NAMED + TEMPLATE, TEMPLATE + "---\n" + NAMED], ids=["behind", "before"])
def test_a_template_stands_in_the_same_file(read, text):
    spec = read(text).spec
    assert (spec.resources.retrain.gpus, spec.storage.region, spec.storage.uri) == (2, "eu", "file:///store")


def test_the_template_of_the_manual_is_read(read):
    spec = read(shown("docs/operations.md", "Templates", "yaml").text).spec
    assert (spec.storage.uri, spec.storage.credentials_secret) == ("s3://my-bucket/ser", "ser-s3")
    assert (spec.resources.retrain.gpus, spec.queue_name) == (1, "team")


def test_the_runs_own_field_wins_over_the_template(read):
    assert read(NAMED + "  resources: {retrain: {gpus: 4}}\n" + TEMPLATE).spec.resources.retrain.gpus == 4


@pytest.mark.parametrize("text", [NAMED, NAMED.replace("team", "other") + TEMPLATE], ids=["none", "another"])
def test_a_template_that_is_not_in_the_file_is_named_with_a_remedy(read, text):
    with pytest.raises(SpecError, match=r"serrun\.yaml:8: spec\.templateRef\.name: the file holds no SERRunTemplate") as caught:
        read(text)
    assert caught.value.reason == "TemplateNotFound" and "another document, after ---" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  policy: {base: hf://a/b}", "16: spec.policy: is no field"),
        ("  queueName: UPPER", "16: spec.queueName"),
        ("  budget: {gpuHours: -1}", "16: spec.budget.gpuHours"),
    ],
)
def test_a_wrong_template_is_told_with_its_line(read, line, message):
    with pytest.raises(SpecError) as caught:
        read(NAMED + TEMPLATE + line + "\n")
    assert message in caught.value.message


def test_two_runs_in_a_file_are_refused_also_beside_a_template(read):
    with pytest.raises(SpecError, match="holds 2 documents"):
        read(GOOD + "---\n" + GOOD + TEMPLATE)
