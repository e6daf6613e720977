"""What a sweep reads of its finished runs."""

from dataclasses import replace

from ser_core.cli.access.stored_run import StoredRun
from ser_core.cli.access.sweeps.results import read_result
from ser_core.sweep.comparison import compare_arms


def test_a_pair_that_is_held_out_in_several_splits_counts_once(stored_run):
    def of_split(number):
        spec = stored_run.run.spec
        data = spec.data.model_copy(update={"split_seed": number})
        run = stored_run.run.model_copy(update={"spec": spec.model_copy(update={"data": data})})
        return read_result(StoredRun(run, spec.storage, "small"), "a")

    def groups(runs):
        return compare_arms([*runs, *(replace(run, arm="b") for run in runs)], "a")[1].difference.groups

    assert groups([of_split(0), of_split(1)]) == groups([of_split(0)])


def test_answers_are_read_so_that_turned_labels_are_noticed(stored_run, monkeypatch):
    monkeypatch.setattr("ser_core.report.heldout.read_answers", lambda *_: {"h0": ("good", "bad")})
    assert read_result(StoredRun(stored_run.run, stored_run.run.spec.storage, "small"), "a").answers == {"h0": ("good", "bad")}
