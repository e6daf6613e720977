"""One stage as some version's code reads and reports it; run as a program with that code on its path.

In: ``SER_STAGE``. Out, as one line of JSON: which stage it is and what it reads, and its report; or how the version refuses it.
"""

import json
import os
import sys

from ser_core.api.stage import StageResult
from ser_core.errors import SpecError

try:
    from ser_jobs.process import runtime
    from ser_jobs.process.result import failure
except ModuleNotFoundError:  # version 0.1.0
    from ser_jobs import runtime

    failure = runtime._failure


def evaluation(accuracy):
    bounds = {"accuracyLow": accuracy - 0.05, "accuracyHigh": accuracy + 0.05}
    return {"pairs": 100, "accuracy": accuracy, **bounds, "lengthOnlyAccuracy": 0.5, "calibrationError": 0.1, "logLoss": 1 - accuracy}


def metrics(stage, iteration):
    """Of a run that climbs by a tenth in each loop, in the fields of version 0.1.0."""
    if stage == "prepare":
        return {"kind": stage, "found": "jsonl", "rows": 100, "seed": 10, "dev": 5, "pool": 75, "heldout": 10, "hiddenLabels": True}
    if stage == "label":
        return {"kind": stage, "labeled": 75, "truncated": 1}
    if stage == "filter":
        counts = {"labeled": 75, "status1": 30, "status2": 10, "kept": 40, "keptFraction": 40 / 75}
        return {"kind": stage, "learningStatus": "Status1", **counts}
    found = evaluation(0.6 + 0.1 * iteration)
    counts = {"steps": 9, "seedPairs": 10, "selfLabeledPairs": 40, "truncated": 0}
    return {"kind": "retrain", **counts, "temperature": 1.0, "dev": found, "heldout": found}


def main():
    try:
        spec = runtime._read_spec(os.environ["SER_STAGE"])
    except SpecError as error:
        return {"exitCode": error.exit_code, "report": failure(error, None).model_dump_json(by_alias=True)}
    stage, place = spec.stage.value, f"iter-{spec.iteration:04d}/{spec.stage.value}"
    digest = f"{spec.iteration:032x}{sum(stage.encode()):032x}"
    manifest = {"stage": stage, "iteration": spec.iteration, "uri": f"s3://bucket/{place}/MANIFEST.json", "sha256": digest}
    done = StageResult.model_validate({"outcome": "done", "manifest": manifest, "metrics": metrics(stage, spec.iteration)})
    return {
        "exitCode": 0,
        "key": [spec.run.uid, spec.iteration, stage],
        "mode": spec.mode,
        "inputs": [[spec.run.uid, source.iteration, source.stage.value] for source in spec.inputs.values()],
        "report": done.model_dump_json(by_alias=True),
    }


json.dump(main(), sys.stdout)
