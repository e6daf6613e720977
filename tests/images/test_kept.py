"""What is kept, and when it is made again."""

import subprocess
import sys
import time

import pytest

from images import builder, debian
from images.kept import GENERATIONS, digest, kept


@pytest.fixture
def made():
    return []


@pytest.fixture
def make(made):
    def write(work, archive):
        made.append(list(work.iterdir()))
        (work / "storage").mkdir()
        archive.write_text(str(len(made)))

    return write


def test_equal_inputs_are_built_once(tmp_path, make, made):
    assert kept(tmp_path, "one", [b"a"], make) == kept(tmp_path, "one", [b"a"], make)
    assert len(made) == 1


def test_another_input_gives_another_archive(tmp_path, make):
    assert kept(tmp_path, "one", [b"a"], make).read_text() == "1"
    assert kept(tmp_path, "one", [b"b"], make).read_text() == "2"


def test_where_one_input_ends_and_the_next_begins_counts():
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])


def test_nothing_of_a_build_stays_but_its_archive(tmp_path, make):
    path = kept(tmp_path, "one", [b"a"], make)
    assert {one.name for one in tmp_path.iterdir()} == {path.name, "one.lock"}


def test_a_build_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path, make):
    def fail(work, archive):
        archive.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        kept(tmp_path, "one", [b"a"], fail)
    assert kept(tmp_path, "one", [b"a"], make).read_text() == "1"


def test_what_a_killed_build_left_does_not_stand_in_the_way(tmp_path, make, made):
    (tmp_path / "one.work" / "storage").mkdir(parents=True)
    kept(tmp_path, "one", [b"a"], make)
    assert made == [[]]


def test_the_archives_that_were_used_last_are_kept(tmp_path, make):
    first = kept(tmp_path, "one", [b"0"], make)
    other = kept(tmp_path, "two", [b"0"], make)
    for number in range(1, GENERATIONS + 1):
        time.sleep(0.01)  # their order is that of their times
        kept(tmp_path, "one", [str(number).encode()], make)
    assert not first.exists()
    assert other.exists()
    assert len(list(tmp_path.glob("one-*.tar"))) == GENERATIONS


def test_who_cannot_build_is_told_the_command_that_helps(monkeypatch):
    monkeypatch.setattr(builder.os, "geteuid", lambda: 0)
    monkeypatch.setattr(builder.shutil, "which", lambda program: None)
    assert (
        builder.obstacle()
        == "buildah and mmdebstrap not installed: make image-packages installs them, as does make node-packages (Debian, Ubuntu)"
    )


def test_only_root_builds(monkeypatch):
    monkeypatch.setattr(builder.os, "geteuid", lambda: 1000)
    assert "root" in builder.obstacle()


def test_a_python_that_debian_does_not_have_is_refused():
    with pytest.raises(builder.CannotBuild, match=r"no release of Debian has Python 3\.9; use an environment of Python 3\.11 or 3\.13"):
        debian.suite_of((3, 9))


def test_a_program_of_a_build_ends_with_the_one_that_started_it(can_build, tmp_path):
    """Killed, not asked: nothing may go on in the background or stay mounted."""
    command = [*builder.ALONE, "sh", "-c", f"echo started; sleep 60; touch {tmp_path}/outlived"]
    starter = f"import subprocess; subprocess.run({command!r})"
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.kill()
        assert process.stdout.read() == ""  # the pipe is closed by its last holder
