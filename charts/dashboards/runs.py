"""*Runs*: which runs are there, and which of them need somebody?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.boards import board
from dashboards.colours import PHASES
from dashboards.panels import CLOSE, COUNT, SHARE, Panel, lines, number, rows
from dashboards.queries import Query, best_dev_accuracies

_A_RUN = "namespace, run"
_BEST_DEV = best_dev_accuracies()
_STALLED = '(ser_run_condition{condition="Stalled"} == 1) unless on (namespace, run) ser_run_phase{phase="Failed"}'
_TILE = 3
"""Width of a number: eight in a row of 24."""
_TO_THE_RUN = (
    "/d/ser-run?var-namespace=${__data.fields.namespace}&var-run=${__data.fields.run}&${datasource:queryparam}&${__url_time_range}"
)


def runs() -> Dashboard:
    """The board."""
    now = [
        number("Runs", "SERRuns that exist.", COUNT, Query("sum(ser_operator_runs)", "runs")),
        number("Running", "Runs that compute.", COUNT, Query('sum(ser_operator_runs{phase="Running"}) or vector(0)', "runs")),
        number(
            "Completed", "Runs that have reached their end.", COUNT, Query('sum(ser_operator_runs{phase="Completed"}) or vector(0)', "runs")
        ),
        number("Failed", "Runs that have failed.", COUNT, Query('sum(ser_operator_runs{phase="Failed"}) or vector(0)', "runs"), alarm=1),
        number(
            "Waiting",
            "Runs that wait for the world: a node, the store, the hub. They go on by themselves. Runs in a queue are not among them.",
            COUNT,
            Query('sum(ser_operator_runs{phase="Waiting"}) or vector(0)', "runs"),
        ),
        number(
            "Need somebody",
            "Runs with the condition Stalled that have not failed: their message says what is missing.",
            COUNT,
            Query(f"count({_STALLED}) or vector(0)", "runs"),
            alarm=1,
        ),
        number(
            "Alerts",
            "Alerts of this chart that fire.",
            COUNT,
            Query('count(ALERTS{alertname=~"SER.*", alertstate="firing"}) or vector(0)', "alerts"),
            alarm=1,
        ),
        number(
            "GPU hours",
            "Of all attempts that have ended, of the runs shown below.",
            COUNT,
            Query("sum(ser_run_gpu_seconds_total) / 3600", "h"),
        ),
    ]
    return board(
        "ser-runs",
        "SER / Runs",
        "Which runs are there, and which of them need somebody?",
        [("Now", [tile.span(_TILE) for tile in now]), ("Runs", [_fleet()]), ("Past", _past())],
    )


def _fleet() -> Panel:
    return rows(
        "Every run",
        "Where each stands that goes on or has ended in the last 7 days, at most 200 of these. The accuracy is that of its best loop on "
        "dev; failures are those of its stage, of so many that are allowed. A click on a name opens the run.",
        Query(f"max by ({_A_RUN}, phase) (ser_run_phase)", "phase value"),
        Query(f"max by ({_A_RUN}, stage) (ser_run_stage)", "stage value"),
        Query(f"max by ({_A_RUN}, reason) (ser_run_waiting_seconds)", "has waited"),
        Query(f"max by ({_A_RUN}) (ser_run_iteration)", "loop"),
        Query(f"max by ({_A_RUN}) (ser_run_max_iterations)", "of"),
        Query(f"max by ({_A_RUN}) (ser_run_progress_ratio)", "stage done"),
        Query(_BEST_DEV, "dev accuracy"),
        Query(f"max by ({_A_RUN}) (ser_run_stage_charged_attempts)", "failures"),
        Query(f"max by ({_A_RUN}) (ser_run_retries_limit)", "allowed"),
        Query(f"max by ({_A_RUN}) (ser_run_gpu_seconds_total) / 3600", "GPU hours"),
        Query(f"time() - max by ({_A_RUN}) (ser_run_started_timestamp_seconds)", "since its start"),
        labels={name: name for name in ("run", "namespace", "phase", "stage", "reason")},
        units={"has waited": "dthms", "stage done": SHARE, "dev accuracy": SHARE, "since its start": "dthms"},
        hidden=["phase value", "stage value"],
        widths={"run": 240, "reason": 170, "loop": 60, "of": 60},
        link=("run", _TO_THE_RUN),
    )


def _past() -> list[Panel]:
    best = Query(_BEST_DEV, "{{namespace}}/{{run}}")
    return [
        lines(
            "Best dev accuracy",
            "Dev accuracy of each run's best loop so far; of cross-fitted models that is not the highest one, since log loss decides.",
            SHARE,
            best,
            axis=CLOSE,
        ),
        lines(
            "Runs by phase",
            "How many runs were in which phase.",
            COUNT,
            Query("sum by (phase) (ser_operator_runs)", "{{phase}}", colours=PHASES),
        ),
        lines(
            "Time waited",
            "For how long runs wait for the world, and for what.",
            "s",
            Query(f"max by ({_A_RUN}, reason) (ser_run_waiting_seconds)", "{{namespace}}/{{run}}: {{reason}}"),
        ),
        lines(
            "Failed attempts by reason",
            "Failed attempts that the statuses record, by the reason that they gave.",
            COUNT,
            Query("sum by (reason) (ser_run_failed_attempts)", "{{reason}}"),
        ),
        lines(
            "Fewest self-labels kept",
            "Smallest share of its self-labels that a loop of the run kept; with none kept there is nothing to learn from.",
            SHARE,
            Query(f"min by ({_A_RUN}) (ser_iteration_kept_ratio)", "{{namespace}}/{{run}}"),
        ),
    ]
