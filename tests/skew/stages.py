"""The stages of a run as the code of some version plays them, over one store."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ser_core.api.stage import StageResult
from ser_core.errors import EXIT_DONE, EXIT_NOTHING_TO_REPORT
from skew.trees import python_path

PROGRAM = Path(__file__).with_name("stage_of_tree.py")


class StagesOf:
    """Like `controlplane.faults.stage_double.StageDouble`, but every stage is read and reported by the code of ``tree``.

    Attributes:
        tree: The version of the image.
        executed: How often each stage was computed.
    """

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.store: dict[tuple[str, int, str], str] = {}
        self.executed: Counter[tuple[str, int, str]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, environment: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and termination message of the stage that ``SER_STAGE`` describes."""
        given = {name: value for name, value in environment.items() if name.startswith("SER_")}
        told = json.loads(
            subprocess.run(
                [sys.executable, str(PROGRAM)],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": python_path(self.tree), **given},
                capture_output=True,
                check=True,
            ).stdout
        )
        if "key" not in told:
            return told["exitCode"], told["report"]
        uid, iteration, stage = told["key"]
        key = (uid, iteration, stage)
        with self._lock:
            if key not in self.store and told["mode"] == "report":
                return EXIT_NOTHING_TO_REPORT, StageResult(outcome="absent").model_dump_json(by_alias=True, exclude_defaults=True)
            if key not in self.store:
                missing = [source for source in told["inputs"] if tuple(source) not in self.store]
                assert not missing, f"{stage} reads {missing}, which is not committed"
                self.executed[key] += 1
                self.store[key] = told["report"]
            return EXIT_DONE, self.store[key]
