"""A tiny run on real parts: a random BERT, a few hundred separable pairs, a store in a folder.

What imports torch in `ser run` is forked from one process of the session, but where a test starts it by `Run.start`.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from warm.server_process import FOLDER, WarmServer

FORK_SERVERS = WarmServer("ser_jobs.process.fork_server")


@dataclass(frozen=True)
class Run:
    """A SERRun file and its store."""

    file: Path
    store: Path

    def ser(self, *arguments, timeout=600):
        """A command of `ser`, whose fork server has imported everything before."""
        command = [sys.executable, "-P", str(FOLDER / "ser.py"), FORK_SERVERS.socket(), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout)

    def start(self):
        """`ser run` as a user starts it."""
        command = [sys.executable, "-m", "ser_core.cli.app", "run", str(self.file)]
        # Tests that were started in a shell's background ignore SIGINT, and so would their children.
        heeds_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_ctrl_c)  # noqa: PLW1509

    def manifests(self):
        """Every manifest of the run by its place, without UID, attempt, writer and times."""
        from comparable import comparable

        from ser_core.store.stages.manifest import Manifest

        found = sorted(self.store.glob("default/*/*/iter-*/*/MANIFEST.json"))
        return {"/".join(path.parts[-3:-1]): comparable(Manifest.model_validate_json(path.read_bytes())) for path in found}

    def change(self, edit):
        content = yaml.safe_load(self.file.read_text())
        edit(content["spec"])
        self.file.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="session")
def make_run(tiny_model, pairs_file):
    """Makes a run of one loop with a store of its own below a folder; ``edit`` may change the spec."""

    def make(folder, edit=lambda spec: None):
        spec = {
            "rewardModel": {"base": f"file://{tiny_model}", "maxLength": 32, "precision": "fp32"},
            "data": {"source": {"uri": f"file://{pairs_file}", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            "training": {"epochs": 3, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
            "loop": {"maxIterations": 1, "rule": "calibrated", "folds": 2, "controls": ["seedOnly"]},
            "resources": {kind: {"cpu": "1"} for kind in ("prepare", "label", "filter", "retrain")},
            "storage": {"uri": f"file://{folder}/store"},
        }
        edit(spec)
        file = folder / "serrun.yaml"
        file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "tiny"}, "spec": spec}))
        return Run(file, folder / "store")

    return make


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, make_run):
    """A run to which nothing happens, made once, as a user starts it."""
    run = make_run(tmp_path_factory.mktemp("undisturbed"))
    ended = run.start()
    said, errors = ended.communicate()
    assert ended.returncode == 0, said[-2000:] + errors[-2000:]
    return run
