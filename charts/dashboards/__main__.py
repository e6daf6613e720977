"""Write the boards as JSON, one file each, into the chart. A test compares."""

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.operator_board import operator
from dashboards.run.board import run
from dashboards.runs import runs

FOLDER = Path(__file__).parents[1] / "ser-operator" / "dashboards"


def texts() -> Mapping[str, str]:
    """The boards by file name."""
    boards = {"ser-runs": runs(), "ser-run": run(), "ser-operator": operator()}
    return {f"{name}.json": json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n" for name, board in boards.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
