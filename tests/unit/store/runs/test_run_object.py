"""The object of a run that was changed in the store leads nobody to another run, nor to files of the machine that reads it."""

import json

import pytest

from ser_core.api.serrun import SERRun
from ser_core.errors import StoreError
from ser_core.store.objects.file import FileStore
from ser_core.store.runs.run_object import load_run, run_key, save_run

SPEC = {"rewardModel": {"base": "hf://o/m"}, "data": {"source": {"uri": "file:///d"}}, "storage": {"uri": "file:///s"}}
RUN = SERRun.model_validate({"metadata": {"name": "hh", "namespace": "lab", "uid": "5f2c"}, "spec": SPEC})


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("name", "another", "names another one, lab/another"),
        ("namespace", "other", "names another one, other/hh"),
        *(("uid", uid, "is no UID") for uid in ("", "*", "../../x", "a\nb", "[a-z]")),
    ],
)
def test_it_is_refused(tmp_path, field, value, told):
    store = FileStore(tmp_path)
    save_run(store, RUN)
    assert load_run(store, "lab", "hh") == RUN
    document = json.loads(store.get(run_key("lab", "hh")))
    document["metadata"][field] = value
    store.put(run_key("lab", "hh"), json.dumps(document).encode())
    with pytest.raises(StoreError, match=told) as refused:
        load_run(store, "lab", "hh")
    assert refused.value.reason == "UnreadableRun"
