"""SERRuns for the tests of admission."""

import copy

GOOD = {
    "apiVersion": "ser.dev/v1alpha1",
    "kind": "SERRun",
    "metadata": {"name": "hh"},
    "spec": {
        "rewardModel": {"base": "hf://Qwen/Qwen3-0.6B"},
        "data": {"source": {"uri": "s3://bucket/pairs"}},
        "storage": {"uri": "s3://bucket/runs"},
    },
}


GOOD_WITH_POLICY = {**GOOD, "spec": {**GOOD["spec"], "policy": {"base": "hf://Qwen/Qwen3-0.6B"}}}


def nested(path, value):
    """``value`` under the dotted ``path``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def merged(old, new):
    """``old`` with what ``new`` says, field by field."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return copy.deepcopy(new)
    return {name: merged(old.get(name), new[name]) if name in new else copy.deepcopy(old[name]) for name in {**old, **new}}


def changed(path, value, good=GOOD):
    """The good one, but for one field whose value is replaced."""
    return merged(merged(good, nested(path, None)), nested(path, value))


def collection(namespace):
    """Path of the SERRuns of a namespace."""
    return f"/apis/ser.dev/v1alpha1/namespaces/{namespace}/serruns"
