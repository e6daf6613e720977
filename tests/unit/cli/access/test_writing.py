"""What a command says where it cannot write."""

import errno

import pytest

from ser_core.cli.access.writing import writing
from ser_core.errors import SpecError


@pytest.mark.parametrize(("number", "raised"), [(errno.EROFS, SpecError), (errno.ENOSPC, OSError)])
def test_another_target_is_a_remedy_for_all_but_a_full_disk(tmp_path, number, raised):
    with pytest.raises(raised), writing(tmp_path, "--folder"):
        raise OSError(number, "told")
