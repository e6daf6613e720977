"""Every test of the torch part runs on one thread and deterministically."""

from pathlib import Path

import pytest

from ser_core.learn.compute.precision import Precision, set_up_process


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    set_up_process(threads=1)


@pytest.fixture(scope="session")
def fp32() -> Precision:
    return Precision("cpu")


@pytest.fixture(params=["bert", "qwen"])
def base(request: pytest.FixtureRequest) -> Path:
    """Both kinds of model, one after the other."""
    folder: Path = request.getfixturevalue(request.param)
    return folder
