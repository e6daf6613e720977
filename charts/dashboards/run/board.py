"""The board of one run, row by row."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.boards import board, choice
from dashboards.run.evolution import evolution
from dashboards.run.now import now
from dashboards.run.policy import policy
from dashboards.run.stages import stages
from dashboards.run.training import training


def run() -> Dashboard:
    """The board."""
    return board(
        "ser-run",
        "SER / Run",
        "How does this run evolve, and what does it do right now?",
        [
            ("Now", now()),
            ("Evolution by loop", evolution()),
            ("Training", training()),
            ("Policy", policy()),
            ("Stages and resources", stages()),
        ],
        [
            choice("namespace", "label_values(ser_run_info, namespace)"),
            choice("run", 'label_values(ser_run_info{namespace="$namespace"}, run)'),
        ],
    )
