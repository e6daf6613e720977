"""A pipe or a device in the place of an object is refused: nobody waits for its end."""

import os

import pytest

from ser_core.errors import CorruptObject
from ser_core.store.objects.file import FileStore

READS = {
    "get": lambda store, copy: store.get("a/b"),
    "beginning": lambda store, copy: store.beginning("a/b", 3),
    "age": lambda store, copy: store.age("a/b"),
    "download": lambda store, copy: store.download("a/b", copy),
}


@pytest.mark.parametrize("place", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_it_is_refused_by_name(tmp_path, read, place):
    (tmp_path / "store" / "a").mkdir(parents=True)
    place(tmp_path / "store" / "a" / "b")
    with pytest.raises(CorruptObject, match=r"a/b is a pipe or a device"):
        read(FileStore(tmp_path / "store"), tmp_path / "copy")
