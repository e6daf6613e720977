"""Where the run stands: single numbers and words."""

from dashboards.panels import COUNT, SHARE, Panel, number, word
from dashboards.queries import RUN, Query, best_accuracy, of_run


def now() -> list[Panel]:
    """The panels of the row."""
    best = "The loop of the best reward model so far."
    return [
        word("Phase", "The phase of the run.", "phase", of_run("ser_run_phase", "phase")),
        word("Stage", "The stage that runs or is next; none once the run has ended.", "stage", of_run("ser_run_stage", "stage")),
        number(
            "Stage done",
            "Done share of the running stage, as the status shows it.",
            SHARE,
            Query(f"ser_run_progress_ratio{{{RUN}}}", "done"),
        ),
        number(
            "Loop",
            "The present loop, of at most loop.maxIterations; 0 is the seed model.",
            COUNT,
            Query(f"ser_run_iteration{{{RUN}}}", "now"),
            Query(f"ser_run_max_iterations{{{RUN}}}", "at most"),
        ),
        word(
            "Learning status",
            "Where the run stands in the curriculum.",
            "learning_status",
            of_run("ser_run_learning_status", "learning_status"),
        ),
        number(
            "GPU hours", "Of all attempts that have ended; 0 without GPUs.", COUNT, Query(f"ser_run_gpu_seconds_total{{{RUN}}} / 3600", "h")
        ),
        number("Best loop", best, COUNT, Query(f"ser_run_best_iteration{{{RUN}}}", "loop")),
        number(
            "Best dev accuracy",
            "Of the best loop, on the labels that choose it.",
            SHARE,
            Query(best_accuracy("dev"), "dev"),
        ),
        number(
            "Its held-out accuracy",
            "Of the best loop, on pairs that decide nothing; and the share of its training pairs that were cut to maxLength.",
            SHARE,
            Query(best_accuracy("heldout"), "held-out"),
            Query(f"ser_run_cut_ratio{{{RUN}}}", "cut"),
        ),
        number(
            "Falls in a row",
            "Newest loops in a row that each got worse on dev; from 2 on there is an alert.",
            COUNT,
            Query(f"ser_run_accuracy_falls{{{RUN}}}", "falls"),
            alarm=2,
        ),
        number(
            "Attempt of the stage",
            "Number of the newest attempt of the newest stage; 1 was not retried.",
            COUNT,
            Query(of_run("ser_run_stage_attempt", "run"), "attempt"),
        ),
        number(
            "Failures of the stage",
            "Attempts that count, and how many of them fail the run (retries.limit); one below that there is an alert.",
            COUNT,
            Query(of_run("ser_run_stage_charged_attempts", "run"), "failures"),
            Query(of_run("ser_run_retries_limit", "run"), "allowed"),
        ),
    ]
