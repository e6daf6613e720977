"""Rows 1 to 24 of the bad-input catalogue on a real API server, without an operator. The types refuse the same specs (`ser run`).

Not for admission, and where they are refused instead:

| row | what | where |
|---|---|---|
| 6 | clip range, batch arithmetic | no such fields: micro-batches follow from tokensPerBatch |
| 7 | more GPUs than any node has | the scheduler; the run waits and says so |
| 8 | deadline shorter than a checkpoint | the planner: the stage is stopped with a checkpoint, and a longer deadline goes on from it |
| 10 | names that are equal in the first 63 characters | accepted; Jobs are named by a hash of the UID (tests/unit/ser_operator) |
| 11 | text that is no label: names, emoji, bidi | accepted in texts; labels hold hashes (tests/unit/ser_operator) |
| 14 | outside the allowed prefixes | the operator's allow-lists, `NotAllowed` |
| 15 | two runs, one prefix | a run's folder holds its namespace and name; a manifest with another UID is refused |
| 16 | Secret missing | kubelet: the pod waits, the run says so |
| 17 | image | no such field: it is the operator's setting |
| 19, 20 | shell, `$(…)`, `--` inside a URI | accepted: told in one environment variable, escaped; argv holds nothing of it |
| 24 | remote-code model | `prepare` reads safetensors and never runs a model's code |
| 1, 18, 21 | unknown fields, from a client that does not ask for strict validation | dropped with a warning: nothing reads them |
"""

import json

import pytest
import yaml
from e2e.admission.serruns import GOOD, GOOD_WITH_POLICY, changed, collection
from pydantic import ValidationError

from controlplane.cluster import ApiError
from ser_core.api.serrun import SERRun
from ser_core.api.values.forms import NEW

UNKNOWN = 'SERRun in version "v1alpha1" cannot be handled as a SERRun: strict decoding error: unknown field "{path}"'
UNFINISHED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
BODY = "Invalid value: {value}: {path} in body should be "
DURATION = "Invalid value: {value}: is no duration up to ten years: write hours, minutes and seconds such as 36h, 1h30m or 90s"
CPUS = "Invalid value: {value}: is no number of CPUs from 1m to 4096: write one such as 2, '0.5' or 500m"
MEMORY = "Invalid value: {value}: is no amount of memory from 16Mi to 64Ti: write one such as 512Mi or 16Gi"
STORAGE_SCHEME = "Invalid value: {value}: has another scheme or none: expected s3://bucket/prefix"
INPUT_SCHEME = "Invalid value: {value}: has another scheme or none: expected s3://bucket/prefix or hf://organisation/name"
BUCKET = "Invalid value: {value}: its bucket is no bucket name: 3 to 63 lower-case letters, digits, dots, hyphens and underscores"
PARTS = "Invalid value: {value}: has an empty or '..' part in its path: write s3://bucket/prefix with plain parts"
CONTROL = "Invalid value: {value}: holds a control character: use printable characters only"
HUB = "Invalid value: {value}: is no hub name: expected hf://organisation/name, for data also @revision"
NAME = "Invalid value: {value}: is no name: use lower-case letters, digits, '-' and '.', such as team-a.data"
LABEL = "Invalid value: {value}: is no label value: use at most 63 letters, digits, '-', '_' and '.', none of these three at an end"
KEY = "Invalid value: a key is no label key: write one such as pool or example.com/pool, with at most 63 characters"
LONG_PATH = "Invalid value: {value}: its path is longer than 1024 bytes"
ONE_WAY = "Invalid value: give source alone, or seed, unlabeled and heldout"
OF_FILES = "Invalid value: splitBy is for seed, unlabeled and heldout: with source, write it into source"
URL = "Invalid value: {value}: is no URL without credentials: write https://host:port"
FILE = "Invalid value: {value}: file:// is for ser run alone: use "
BESIDE = "store the run beside its inputs"
PROMPTS_BESIDE = f"policy.prompts.uri s3://bucket/runs: {BESIDE}"
RETRAIN, LABELING = "spec.resources.retrain", "spec.resources.label"
THREE = {name: {"uri": f"s3://bucket/{name}"} for name in ("seed", "unlabeled", "heldout")}

POLICY_BOUNDS = [
    ("kl.coefficient", -1, "greater than or equal to 0"),
    ("kl.target", 0, "greater than 0"),
    ("steps", 0, "greater than or equal to 1"),
    ("rolloutsPerStep", 1, "greater than or equal to 2"),
    ("answerTokens", 0, "greater than or equal to 1"),
    ("temperature", 0, "greater than 0"),
    ("learningRate", 1.5, "less than or equal to 1"),
    ("missingEndPenalty", -0.5, "greater than or equal to 0"),
    ("sft.epochs", 0, "greater than or equal to 1"),
    ("adapter.rank", 513, "less than or equal to 512"),
]

BAD = [
    (1, "spec.loop.itertions", 3, UNKNOWN),
    (1, "spec.rewardmodel", {}, UNKNOWN),
    (2, "spec.loop.maxIterations", 0, BODY + "greater than or equal to 1"),
    (2, "spec.loop.maxIterations", -1, BODY + "greater than or equal to 1"),
    (2, "spec.loop.maxIterations", 10**9, BODY + "less than or equal to 32"),
    (2, "spec.loop.maxIterations", "3", "of type integer"),
    (2, "spec.loop.maxIterations", True, "of type integer"),
    (2, "spec.loop.rule", "x", 'Unsupported value: "x": supported values: "calibrated", "paper", "reference"'),
    (2, "spec.loop.controls", ["full", "full"], '[1]: Duplicate value: "full"'),
    (3, "spec.training.learningRate", 0, BODY + "greater than 0"),
    (3, "spec.training.learningRate", -1e-4, BODY + "greater than 0"),
    (3, "spec.training.learningRate", 1.5, BODY + "less than or equal to 1"),
    (4, "spec.loop.thresholds", {"low": 0.6, "high": 0.5}, ".low: Invalid value: low 0.6 must be below high 0.5"),
    (4, "spec.loop.thresholds", {"low": 0.55}, ".low: Invalid value: low 0.55 must be below high 0.55"),
    (
        4,
        "spec.data.source.seedFraction",
        0.95,
        "Invalid value: seedFraction 0.95 + heldoutFraction 0.1 leaves no pool: keep the sum below 1",
    ),
    (4, "spec.data.source.columns", {"rejected": "a"}, "Invalid value: chosen and rejected go together: name both"),
    (4, "spec.data.source.columns", {"score_1": "a", "better": "b"}, "Invalid value: score_1 and score_2 go together: name both"),
    (4, "spec.data.seed", {"uri": "hf://a/b"}, "spec.data: " + ONE_WAY),
    (4, "spec.data.splitBy", "topic", "spec.data: " + OF_FILES),
    (4, "spec.data", {}, ONE_WAY),
    (4, "spec.data", {"seed": THREE["seed"]}, ONE_WAY),
    (4, "spec.data", {"source": None}, ONE_WAY),
    (5, "spec.policy.prompts.uri", "file:///prompts", FILE + "s3:// or hf://"),
    (5, "spec.policy.base", "file:///model", FILE + "s3:// or hf://"),
    (5, "spec.policy.base", "x", INPUT_SCHEME),
    (5, "spec.policy.base", None, "Required value"),
    (6, "spec.policy.clipRange", 0.2, UNKNOWN),
    *((5, f"spec.policy.{field}", value, BODY + told) for field, value, told in POLICY_BOUNDS),
    (6, "spec.training.microBatch", 3, UNKNOWN),
    (7, f"{RETRAIN}.gpus", -1, BODY + "greater than or equal to 0"),
    (7, f"{RETRAIN}.gpus", 17, BODY + "less than or equal to 16"),
    *((7, f"{RETRAIN}.cpu", value, CPUS) for value in ("0", "1Ki", "1k", "0.0001", "4097", "1.5m", -1, 4097)),
    *((7, f"{RETRAIN}.memory", value, MEMORY) for value in ("16GB", "1m", "15Mi", "65Ti", 1024)),
    *(
        (9, "spec.activeDeadline", value, DURATION)
        for value in ("1d", "-5m", "∞", "0s", "", "36h\n", "1.5h", "87601h", "9999999999999999999s")
    ),
    (9, "spec.ttlAfterFinished", "0h0m", DURATION),
    (9, "spec.activeDeadline", 90, "of type string"),
    (9, "spec.activeDeadline", "9" * 20 + "h", "Too long: may not be more than 20 bytes"),
    (10, "metadata.name", "a" * 254, "Invalid value: {value}: must be no more than 253 characters"),
    (11, f"{LABELING}.nodeSelector", {"pool": "e😀"}, "[pool]: " + LABEL.format(value='"e😀"')),
    (11, f"{LABELING}.nodeSelector", {"e😀": "a"}, KEY),
    (11, "spec.queueName", "a" * 64, "Too long: may not be more than 63 bytes"),
    (11, "spec.queueName", "e😀", NAME),
    *((12, "spec.storage.uri", value, STORAGE_SCHEME) for value in ("bucket/prefix", "http://host/x", "S3://bucket", "", "hf://a/b")),
    *((12, "spec.storage.uri", value, BUCKET) for value in ("s3://", "s3://ab", "s3://Bucket/x", "s3:///x", "s3://bucket-")),
    (12, "spec.rewardModel.base", "Qwen/Qwen3-0.6B", INPUT_SCHEME),
    (12, "spec.data.source.uri", "s3://Bucket/x", BUCKET),
    (12, "spec.storage.endpoint", "https://key:secret@host", URL),
    *((13, "spec.storage.uri", value, PARTS) for value in ("s3://bucket/a/../b", "s3://bucket/a//b", "s3://bucket//a", "s3://bucket/..")),
    (13, "spec.storage.uri", "s3://bucket/a\tb", CONTROL),
    (13, "spec.storage.uri", "s3://bucket/a\nb", CONTROL),
    (13, "spec.storage.uri", "s3://bucket/" + "a" * 1025, LONG_PATH),
    (13, "spec.storage.uri", "s3://bucket/" + "é" * 513, LONG_PATH),
    (13, "spec.storage.uri", "s3://bucket/" + "a" * 1200, "Too long: may not be more than 1200 bytes"),
    *(
        (
            14,
            "spec.storage.uri",
            uri,
            f"Invalid value: {uri} lies inside data.source.uri s3://bucket/pairs: store the run beside its inputs",
        )
        for uri in ("s3://bucket/pairs", "s3://bucket/pairs/", "s3://bucket/pairs/runs")
    ),
    (17, "spec.image", "ser:latest", UNKNOWN),
    (18, "spec.podTemplate.hostNetwork", True, UNKNOWN),
    *(
        (18, f"{RETRAIN}.{name}", value, UNKNOWN)
        for name, value in {"hostPath": "/", "serviceAccountName": "x", "privileged": True}.items()
    ),
    (18, f"{RETRAIN}.tolerations", [{}], "[0]: Invalid value: operator Exists takes no value, and operator Equal needs a key"),
    (
        18,
        f"{RETRAIN}.tolerations",
        [{"key": "a", "tolerationSeconds": 1}],
        "[0]: Invalid value: tolerationSeconds goes with effect NoExecute",
    ),
    *((20, path, "--x", NAME) for path in ("spec.queueName", "spec.storage.credentialsSecret", "spec.hub.credentialsSecret")),
    (20, f"{RETRAIN}.priorityClassName", "$(HOME)", NAME),
    (20, "spec.storage.region", "$(HOME)", "Invalid value: {value}: is no region: write one such as eu-central-1"),
    (20, "spec.rewardModel.base", "hf://organisation/--model", HUB),
    (21, "spec.env", [{"name": "LD_PRELOAD", "value": "x"}], UNKNOWN),
    (22, "spec.rewardModel.revision", "a" * 1_400_000, "Too long: may not be more than 200 bytes"),
    (22, f"{LABELING}.nodeSelector", {f"k{number}": "v" for number in range(10_000)}, "Too many: 10000: must have at most 32 items"),
    (22, f"{LABELING}.tolerations", [{"operator": "Exists"}] * 33, "Too many: 33: must have at most 32 items"),
    (22, "spec.hub.endpoint", "https://" + "a" * 1000, "Too long: may not be more than 500 bytes"),
    (24, "spec.rewardModel.base", "../x", INPUT_SCHEME),
    *(
        (14, "spec.policy.base", uri, f"spec.storage.uri: Invalid value: s3://bucket/runs lies inside policy.base {uri}: {BESIDE}")
        for uri in ("s3://bucket", "s3://bucket/runs/")
    ),
    (14, "spec.policy.prompts.uri", "s3://bucket/runs", f"spec.storage.uri: Invalid value: s3://bucket/runs lies inside {PROMPTS_BESIDE}"),
    *((24, "spec.rewardModel.base", value, HUB) for value in ("hf://../x", "hf://a/b/../c", "hf://a/b\n", "hf://")),
    (24, "spec.rewardModel.base", "file:///model", FILE + "s3:// or hf://"),
    (24, "spec.storage.uri", "file:///runs", FILE + "s3://"),
]


def expected(path, value, said):
    """The API server's answer, word by word."""
    if said == UNKNOWN:
        return said.format(path=path)
    shown = json.dumps(value, ensure_ascii=False)
    if said.startswith("of type"):
        given = {str: "string", bool: "boolean", int: "integer"}[type(value)]
        said = f'Invalid value: "{given}": {path} in body must be {said}: "{given}"'
    where = "" if said.startswith("spec.") else path if said[0] in ".[" else f"{path}: "
    told = where + (said.format(value=shown, path=path) if "{value}" in said else said)
    unfinished = any(kind in told for kind in ("must be of type", ": Too ", ": Unsupported ", ": Required "))
    name = value if path == "metadata.name" else "hh"
    return f'SERRun.ser.dev "{name}" is invalid: ' + (f"[{told}, {UNFINISHED}]" if unfinished else told)


@pytest.fixture(scope="module")
def create(control_plane, crd):
    """Create a SERRun, without keeping it; strictly, as kubectl does."""
    return lambda document: control_plane.api().create(f"{collection('default')}?dryRun=All&fieldValidation=Strict", document)


@pytest.mark.parametrize(("row", "path", "value", "said"), BAD)
def test_a_bad_spec_is_refused_with_what_is_wrong_and_the_remedy(create, row, path, value, said):
    good = GOOD_WITH_POLICY if path.startswith("spec.policy") else GOOD
    document = changed(path, value, good)
    with pytest.raises(ApiError) as refused:
        create(document)
    assert refused.value.message == expected(path, value, said)
    if "file://" not in str(value):
        with pytest.raises(ValidationError):
            SERRun.model_validate_json(json.dumps(document), strict=True, context=NEW)


@pytest.mark.parametrize(
    ("row", "write", "value", "said"),
    [
        (3, yaml.safe_dump, "9" * 400, 'must be of type number: "string"'),
        (3, yaml.safe_dump, "1e400", 'must be of type number: "string"'),
        (3, yaml.safe_dump, ".nan", "unsupported value: NaN"),
        (3, json.dumps, "1e400", "cannot unmarshal number 1e400"),
        (22, yaml.safe_dump, "[" * 10_000 + "]" * 10_000, "exceeded max depth"),
    ],
    ids=["digits", "huge", "nan", "huge in JSON", "deep"],
)
def test_3_and_22_what_no_json_can_hold_is_refused(control_plane, crd, row, write, value, said):
    text = write(changed("spec.training", {"learningRate": "HERE"})).replace('"HERE"', "HERE").replace("HERE", value)
    ended = control_plane.kubectl("create", "--dry-run=server", "-f", "-", input=text, check=False)
    assert ended.returncode
    assert said in ended.stderr
