"""Every metric that the operator and the stages export: names, types, labels and meaning in one table.

docs/metrics.md is generated from it, the exporters take names, labels and help from it, and the queries of dashboards and alert rules
are checked against it. Names follow Prometheus' rules: one prefix, base units, ratios from 0 to 1, `_total` for what only rises.

No label is unbounded. `namespace` and `run` name runs that exist: their series vanish with the SERRun, those of a stage with its pod.
`iteration` is at most loop.maxIterations; all others are words of a short list, or one word a run. Free text is never a label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Type = Literal["gauge", "counter", "histogram"]

RUN = ("namespace", "run")
ITERATION = (*RUN, "iteration")
STAGE = (*ITERATION, "stage")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A gauge that is a state has the value 1, and only the current state has a series."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics of one origin."""

    title: str
    about: str
    metrics: tuple[Metric, ...]


RUNS = Group(
    "Runs",
    "Exported by the operator from the status of every SERRun that exists, at each scrape.",
    (
        Metric("ser_run_info", "gauge", "1; what does not change during a run.", (*RUN, "base_model", "queue")),
        Metric("ser_run_phase", "gauge", "State: the phase of the run.", (*RUN, "phase")),
        Metric(
            "ser_run_waiting_seconds",
            "gauge",
            "For how long the run has waited for the world, and for what; without a series it does not wait.",
            (*RUN, "reason"),
        ),
        Metric("ser_run_condition", "gauge", "1 when the condition is True, else 0.", (*RUN, "condition")),
        Metric("ser_run_stage", "gauge", "State: the stage that runs or is next.", (*RUN, "stage")),
        Metric("ser_run_learning_status", "gauge", "State: where the run stands in the curriculum.", (*RUN, "learning_status")),
        Metric("ser_run_iteration", "gauge", "Number of the current loop; 0 is the seed model.", RUN),
        Metric("ser_run_max_iterations", "gauge", "Loops that the run may take (loop.maxIterations).", RUN),
        Metric("ser_run_best_iteration", "gauge", "Loop of the best reward model so far.", RUN),
        Metric("ser_run_cut_ratio", "gauge", "Share of the best reward model's training pairs that lost tokens to maxLength.", RUN),
        Metric(
            "ser_run_accuracy_falls",
            "gauge",
            "Newest loops in a row that each got worse, by what decides under the rule.",
            RUN,
        ),
        Metric("ser_run_progress_ratio", "gauge", "Done share of the running stage, in the coarse steps of the status.", RUN),
        Metric("ser_run_gpu_seconds_total", "counter", "GPU time of all attempts that have ended.", RUN),
        Metric("ser_run_created_timestamp_seconds", "gauge", "When the SERRun was created.", RUN),
        Metric("ser_run_started_timestamp_seconds", "gauge", "When the run started.", RUN),
        Metric("ser_run_finished_timestamp_seconds", "gauge", "When the run ended.", RUN),
        Metric("ser_run_stage_attempt", "gauge", "Number of the newest attempt of the newest stage; 1 was not retried.", (*RUN, "stage")),
        Metric(
            "ser_run_stage_charged_attempts",
            "gauge",
            "Attempts of the newest stage that count against its limit.",
            (*RUN, "stage"),
        ),
        Metric("ser_run_retries_limit", "gauge", "Charged attempts of a stage after which the run has failed (retries.limit).", RUN),
        Metric(
            "ser_run_failed_attempts",
            "gauge",
            "Failed attempts that the status still records, charged or not, by reason code; it keeps those that count and the last 8.",
            (*RUN, "stage", "reason"),
        ),
        Metric("ser_run_policy_score", "gauge", "Mean reward model score of the aligned policy on held-out prompts, in logits.", RUN),
        Metric("ser_run_policy_baseline_score", "gauge", "The same of the policy before the first PPO step.", RUN),
        Metric("ser_run_policy_kl_nats", "gauge", "Mean KL of a whole answer from the reference policy.", RUN),
        Metric("ser_run_policy_steps", "gauge", "PPO steps that the aligned policy has taken.", RUN),
        Metric(
            "ser_run_stored_bytes",
            "gauge",
            "What the run stores by kind (base models, reward models, fold models, policies, checkpoints, records), as counted when its "
            "last stage was committed.",
            (*RUN, "kind"),
        ),
        Metric("ser_run_control_accuracy_ratio", "gauge", "Held-out accuracy of a control (loop.controls).", (*RUN, "control")),
    ),
)

ITERATIONS = Group(
    "Iterations",
    "Exported by the operator from `status.iterations`: the evolution, also after the pods are gone.",
    (
        Metric("ser_iteration_info", "gauge", "1; the learning status of the loop.", (*ITERATION, "learning_status")),
        Metric(
            "ser_iteration_accuracy_ratio",
            "gauge",
            "Accuracy on dev, whose labels decide, and held-out, which informs.",
            (*ITERATION, "split"),
        ),
        Metric("ser_iteration_accuracy_low_ratio", "gauge", "Lower end of its 95 % interval.", (*ITERATION, "split")),
        Metric("ser_iteration_accuracy_high_ratio", "gauge", "Upper end of its 95 % interval.", (*ITERATION, "split")),
        Metric("ser_iteration_gain_ratio", "gauge", "Dev accuracy minus that of the best reward model before the loop.", ITERATION),
        Metric(
            "ser_iteration_dev_loss",
            "gauge",
            "Log loss on dev in nats, which decides between equal accuracies; of cross-fitted models it alone decides.",
            ITERATION,
        ),
        Metric(
            "ser_iteration_loss_gain_nats",
            "gauge",
            "Out-of-fold log loss of the best reward model before the loop minus the loop's, which decides between cross-fitted models.",
            ITERATION,
        ),
        Metric("ser_iteration_pairs", "gauge", "Self-labelled pairs of the loop by verdict, kept or dropped.", (*ITERATION, "verdict")),
        Metric("ser_iteration_kept_ratio", "gauge", "Kept share of the self-labelled pairs.", ITERATION),
        Metric("ser_iteration_agreement_ratio", "gauge", "Share of the kept self-labels that equal the hidden human ones.", ITERATION),
        Metric("ser_iteration_threshold_ratio", "gauge", "Threshold: the lowest confidence that was kept.", ITERATION),
        Metric("ser_iteration_temperature", "gauge", "Temperature that calibrates the scores of the loop's reward model.", ITERATION),
        Metric(
            "ser_iteration_same_labels_ratio",
            "gauge",
            "Share of the pairs that the loop labels as the loop before did, of those that both have labelled.",
            ITERATION,
        ),
        Metric("ser_iteration_score", "gauge", "Mean raw score of the answers of the pool, in logits.", ITERATION),
        Metric("ser_iteration_margin", "gauge", "Mean absolute difference of the two scores of a pair of the pool, in logits.", ITERATION),
        Metric("ser_iteration_confidence_ratio", "gauge", "Mean confidence of the kept self-labels.", ITERATION),
        Metric(
            "ser_iteration_confidence_right_ratio",
            "gauge",
            "Share of the seed's pairs as sure as the kept ones that are labelled right by what has not seen them.",
            ITERATION,
        ),
        Metric("ser_iteration_easier_ratio", "gauge", "Share of the kept self-labels that meet Status 1, the easier case.", ITERATION),
        Metric(
            "ser_iteration_repeated_trainings",
            "gauge",
            "Trainings that were repeated since their model had collapsed, those of fold models included.",
            ITERATION,
        ),
        Metric(
            "ser_iteration_collapsed",
            "gauge",
            "1 when each training of the loop's reward model has collapsed, so that it does not hold, else 0.",
            ITERATION,
        ),
        Metric("ser_iteration_duration_seconds", "gauge", "From the start of the loop's first stage to its end.", ITERATION),
    ),
)

STAGES = Group(
    "Stages",
    "Exported by rank 0 of a running stage on port 9400 of its pod.",
    (
        Metric("ser_stage_attempt", "gauge", "Number of the attempt; 1 was not retried.", STAGE),
        Metric("ser_stage_start_timestamp_seconds", "gauge", "When the attempt started.", STAGE),
        Metric("ser_stage_work_done", "gauge", "Work done, in the unit that the label names.", (*STAGE, "unit")),
        Metric("ser_stage_work_expected", "gauge", "All work of the stage, in the same unit.", (*STAGE, "unit")),
        Metric("ser_stage_store_retries_total", "counter", "Requests to the object store that failed and were sent again.", STAGE),
        Metric("ser_stage_memory_bytes", "gauge", "Resident memory of the process.", STAGE),
        Metric(
            "ser_stage_gpu_memory_bytes",
            "gauge",
            "Memory of a GPU that rank 0 uses: its own allocated, reserved and peak, and all there is.",
            (*STAGE, "device", "use"),
        ),
    ),
)

TRAINING = Group(
    "Training",
    "The newest optimizer step, exported like the stage's.",
    (
        Metric("ser_train_loss", "gauge", "Mean loss of a pair, or in sft of a token, in nats.", STAGE),
        Metric("ser_train_gradient_norm", "gauge", "Norm of the gradient before clipping.", STAGE),
        Metric("ser_train_learning_rate", "gauge", "Learning rate of the step.", STAGE),
        Metric("ser_train_steps_total", "counter", "Optimizer steps of this attempt.", STAGE),
        Metric("ser_train_pairs_total", "counter", "Pairs trained on in this attempt.", STAGE),
        Metric("ser_train_tokens_total", "counter", "Tokens trained on in this attempt, without padding.", STAGE),
    ),
)

POLICY = Group(
    "Policy",
    "The newest PPO step, exported like the stage's.",
    (
        Metric("ser_policy_reward", "gauge", "Mean reward of an answer: its score minus the KL penalty.", STAGE),
        Metric("ser_policy_score", "gauge", "Mean raw score of the reward model, in logits.", STAGE),
        Metric("ser_policy_witness_score", "gauge", "The same of the witness, from which PPO does not learn.", STAGE),
        Metric("ser_policy_kl_nats", "gauge", "Mean KL of a whole answer from the reference policy.", STAGE),
        Metric("ser_policy_kl_coefficient", "gauge", "Weight of the KL in the reward.", STAGE),
        Metric("ser_policy_entropy_nats", "gauge", "Mean entropy of a token.", STAGE),
        Metric("ser_policy_answer_tokens", "gauge", "Mean length of an answer.", STAGE),
        Metric("ser_policy_ended_ratio", "gauge", "Share of answers with an end token.", STAGE),
        Metric("ser_policy_distinct_ratio", "gauge", "Different answers, as a share of all of a step.", STAGE),
        Metric("ser_policy_repeated_ratio", "gauge", "Share of what an answer says that stood in it before, by triples of tokens.", STAGE),
        Metric(
            "ser_policy_distinct_triples_ratio",
            "gauge",
            "Different triples of tokens, as a share of those of all of a step's answers.",
            STAGE,
        ),
        Metric("ser_policy_clipped_ratio", "gauge", "Share of tokens whose probability ratio was clipped.", STAGE),
        Metric("ser_policy_loss", "gauge", "Loss of the policy.", STAGE),
        Metric("ser_policy_value_loss", "gauge", "Loss of the critic; absent where there is none.", STAGE),
        Metric(
            "ser_policy_explained_variance_ratio",
            "gauge",
            "Share of the returns' variance that the critic explains; absent where there is none.",
            STAGE,
        ),
        Metric("ser_policy_gradient_norm", "gauge", "Norm of the policy's gradient before clipping.", STAGE),
        Metric(
            "ser_policy_critic_gradient_norm", "gauge", "Norm of the critic's gradient before clipping; absent where there is none.", STAGE
        ),
        Metric("ser_policy_steps_total", "counter", "PPO steps of this attempt.", STAGE),
        Metric("ser_policy_skipped_updates_total", "counter", "Updates left out because a number was not finite.", STAGE),
        Metric("ser_policy_generate_seconds_total", "counter", "Time spent on sampling rollouts.", STAGE),
        Metric("ser_policy_score_seconds_total", "counter", "Time spent on scoring them.", STAGE),
        Metric("ser_policy_train_seconds_total", "counter", "Time spent on updates.", STAGE),
    ),
)

OPERATOR = Group(
    "Operator",
    "What the operator measures of itself.",
    (
        Metric("ser_operator_build_info", "gauge", "1; the version.", ("version",)),
        Metric("ser_operator_runs", "gauge", "SERRuns by phase.", ("phase",)),
        Metric("ser_operator_reconciles_total", "counter", "Reconciles of a run by result: ok, conflict, retried or error.", ("result",)),
        Metric("ser_operator_reconcile_duration_seconds", "histogram", "Time of one reconcile."),
        Metric("ser_operator_queue_depth", "gauge", "Runs that wait for their reconcile."),
        Metric("ser_operator_queue_latency_seconds", "histogram", "Time from when a run became due to its reconcile."),
        Metric(
            "ser_operator_api_requests_total",
            "counter",
            "Requests to the API server beside the watches; code 0 is no answer.",
            ("verb", "code"),
        ),
        Metric("ser_operator_api_request_duration_seconds", "histogram", "Time of one such request.", ("verb",)),
        Metric("ser_operator_cached_objects", "gauge", "Objects in the cache.", ("kind",)),
        Metric("ser_operator_watch_events_total", "counter", "Events that the watches brought.", ("kind",)),
        Metric("ser_operator_watch_last_event_timestamp_seconds", "gauge", "When a watch last brought an event.", ("kind",)),
        Metric(
            "ser_operator_resync_last_success_timestamp_seconds",
            "gauge",
            "When everything was last listed; before that, when the operator started.",
        ),
        Metric("ser_operator_refused_namespaces", "gauge", "Watched namespaces that are gone, or in which the operator has no rights."),
        Metric(
            "ser_operator_resync_changes_total",
            "counter",
            "Objects that a LIST showed otherwise than the watch had.",
            ("kind",),
        ),
    ),
)

GROUPS = (RUNS, ITERATIONS, STAGES, TRAINING, POLICY, OPERATOR)

METRICS: Mapping[str, Metric] = {metric.name: metric for group in GROUPS for metric in group.metrics}
