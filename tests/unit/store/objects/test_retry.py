"""Waiting for a store: each operation for itself, or several together."""

import pytest

from ser_core.errors import ObjectNotFound, StoreError
from ser_core.store.objects.retry import Retry, Silence, Transient


@pytest.fixture
def waited():
    return []


@pytest.fixture
def retry(waited):
    return Retry(20.0, clock=lambda: sum(waited), sleep=waited.append, uniform=lambda _, longest: longest, silence=Silence())


def fail():
    raise Transient("connection refused")


def answers_after(failures):
    answers = [fail] * failures + [lambda: "there"]

    def ask():
        return answers.pop(0)()

    return ask


def refuse():
    raise ObjectNotFound("no such key")


def test_operations_that_wait_together_give_up_once(retry, waited):
    for _ in range(3):
        with pytest.raises(StoreError, match="the first failed"):
            retry.call(fail, "the first")
    assert 0 < sum(waited) <= 20


def test_a_store_that_answers_is_given_the_whole_deadline_again(retry, waited):
    assert retry.call(answers_after(5), "reading") == "there"
    waited.append(1000.0)
    with pytest.raises(ObjectNotFound):
        retry.call(refuse, "reading")
    waited.append(1000.0)
    before = len(waited)
    assert retry.call(answers_after(5), "reading") == "there"
    assert len(waited) == before + 5
