"""What the locks install is named, with its licence, at every change; the workflow runs what was tested."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from chart.dockerfile import ROOT

from images.builder import CannotBuild
from release import __main__ as command
from release.contents import pins
from release.installed import write_installed
from release.shipped import OPERATOR, STAGES

JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]


def test_the_bills_name_all_that_the_locks_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["release", "bills", "--output", str(tmp_path)])
    command.main()
    for image, path in zip((OPERATOR, STAGES), capsys.readouterr().out.split(), strict=True):
        found = {one["name"]: one for one in json.loads((tmp_path / path).read_text())["components"]}
        assert {name: one["version"] for name, one in found.items()} == pins(image.lock.read_text())
        assert [name for name, one in found.items() if "licenses" not in one and name != "cuda-toolkit"] == []


@pytest.mark.parametrize(
    ("line", "told"), [("stranger==1", "stranger is not installed here"), ("pyyaml==1", "pyyaml .* is not in its lock")]
)
def test_what_is_not_as_the_lock_says_is_refused(tmp_path, line, told):
    other = replace(OPERATOR, lock=tmp_path / "lock.txt")
    other.lock.write_text(f"{line} \\\n")
    with pytest.raises(CannotBuild, match=told):
        write_installed(tmp_path, other)


def test_every_step_of_the_check_is_a_target_of_make():
    asked = [shlex.split(step["run"]) for step in STEPS if "run" in step]
    assert asked == [["make", "check"], ["make", "bills"], ["make", "unit"]]
    dry = ["make", "--no-print-directory", "--dry-run", "bills"]
    told = subprocess.run(dry, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    words = shlex.split(told.splitlines()[-1])
    assert command.parser().parse_args(words[4:]).do is command.bills


def test_what_the_check_uses_of_others_is_named_by_commit():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []
