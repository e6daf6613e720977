"""What `helm install` says at its end."""

import json
import shutil
import subprocess

import pytest
import yaml
from chart.rendering import CHART

from controlplane.plane.build import binary

OURS = ["--set=image.repository=registry.example/ser-operator", "--set=stages.image.repository=registry.example/ser-jobs"]


@pytest.fixture
def notes(tmp_path):
    """Reads the notes, which `helm template` leaves out, through a template of a copy."""
    chart = shutil.copytree(CHART, tmp_path / "chart")
    (chart / "templates" / "shown.yaml").write_text('notes: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}\n')

    def read(*options):
        command = [binary("helm"), "template", "ser", chart, "--namespace", "lab", "--show-only", "templates/shown.yaml", *options]
        return yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["notes"]

    return read


@pytest.mark.parametrize("options", [[], OURS[:1], OURS[1:]], ids=["neither named", "no image of the stages", "no image of the operator"])
def test_who_names_no_image_is_told_how_to_get_one(notes, options):
    assert "Until a release is published, build both images" in notes(*options)


def test_who_names_both_is_not(notes):
    said = notes(*OURS)
    assert "build both images" not in said
    assert "kubectl rollout status --namespace lab" in said


@pytest.mark.parametrize(("enabled", "keep", "deletes"), [(True, True, False), (True, False, True), (False, False, False)])
def test_only_a_release_that_has_the_crds_and_does_not_keep_them_deletes_them(notes, enabled, keep, deletes):
    said = notes(*OURS, f"--set=crds.enabled={json.dumps(enabled)}", f"--set=crds.keep={json.dumps(keep)}")

    assert ("helm uninstall deletes the CRDs" in said) is deletes
    assert ("helm uninstall leaves the CRDs" in said) is not deletes


def test_the_serrun_can_be_applied_as_it_is_printed(notes):
    """A shell ends a here-document at a line that is its word and nothing else."""
    printed = notes(*OURS)
    block = printed[printed.index("kubectl apply") : printed.index("4. Watch it evolve")]
    ended = subprocess.run(["bash"], input=f"kubectl() {{ cat; }}\n{block}", capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert yaml.safe_load(ended.stdout)["kind"] == "SERRun"
