"""What two runs of the same spec must agree on."""

from typing import Any

from ser_core.store.stages.manifest import Manifest


def comparable(manifest: Manifest) -> dict[str, Any]:
    """Of a stage's manifest: everything but UID, attempt, writer, keys and times."""
    return {
        "stage": manifest.stage,
        "iteration": manifest.iteration,
        "inputs": sorted((role, ref.stage, ref.iteration) for role, ref in manifest.inputs.items()),
        "outputs": {name: (part.size, part.sha256) for name, part in sorted(manifest.outputs.items())},
        "metrics": manifest.metrics.model_dump(mode="json"),
        "seed": manifest.seed,
        "threads": manifest.threads,
    }
