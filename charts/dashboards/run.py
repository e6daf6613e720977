"""*Run*: how does this run evolve, and what does it do right now?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.boards import board, choice
from dashboards.colours import BLUE, GREEN, MEMORY, ORANGE, PURPLE, SKY, VERMILION
from dashboards.panels import (
    BYTES,
    CLOSE,
    COUNT,
    FEW,
    HEIGHT,
    SECONDS,
    SHARE,
    Axis,
    Panel,
    bars_by_iteration,
    by_iteration,
    lines,
    number,
    rows,
    states,
    word,
)
from dashboards.queries import RATE, RUN, Query, of_best_loop, of_gpus, of_run

THIRD, QUARTER = 8, 6
_STAGE = "{{stage}} of loop {{iteration}}"
_BY_STAGE = "iteration, stage"


def run() -> Dashboard:
    """The board."""
    return board(
        "ser-run",
        "SER / Run",
        "How does this run evolve, and what does it do right now?",
        [
            ("Now", _now()),
            ("Evolution by loop", _evolution()),
            ("Training", _training()),
            ("Policy", _policy()),
            ("Stages and resources", _stages()),
        ],
        [
            choice("namespace", "label_values(ser_run_info, namespace)"),
            choice("run", 'label_values(ser_run_info{namespace="$namespace"}, run)'),
        ],
    )


def _now() -> list[Panel]:
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
            "Of the best loop, which is chosen by it.",
            SHARE,
            Query(of_best_loop("ser_iteration_accuracy_ratio", 'split="dev"'), "dev"),
        ),
        number(
            "Its held-out accuracy",
            "Of the best loop, on pairs that decide nothing; and the share of its training pairs that were cut to maxLength.",
            SHARE,
            Query(of_best_loop("ser_iteration_accuracy_ratio", 'split="heldout"'), "held-out"),
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
            "Attempts that count against the limit of 3; from 2 on there is an alert.",
            COUNT,
            Query(of_run("ser_run_stage_charged_attempts", "run"), "failures"),
            alarm=2,
        ),
    ]


def _evolution() -> list[Panel]:
    accuracy = 'split="heldout"'
    return [
        by_iteration(
            "Accuracy",
            "On held-out pairs with the 95 % interval, and on dev, by which the best loop is chosen.",
            SHARE,
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", accuracy), "held-out", BLUE),
            Query(of_run("ser_iteration_accuracy_low_ratio", "iteration", accuracy), "low", SKY),
            Query(of_run("ser_iteration_accuracy_high_ratio", "iteration", accuracy), "high", SKY),
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", 'split="dev"'), "dev", ORANGE, dashed=True),
            axis=CLOSE,
            band=("low", "high"),
        ),
        by_iteration(
            "Trust and truth",
            "Kept share of the self-labels, how many of the kept ones equal the hidden human labels, and the confidence asked for.",
            SHARE,
            Query(of_run("ser_iteration_kept_ratio", "iteration"), "kept", GREEN),
            Query(of_run("ser_iteration_agreement_ratio", "iteration"), "agreement of kept labels", BLUE),
            Query(of_run("ser_iteration_threshold_ratio", "iteration"), "threshold", PURPLE, dashed=True),
        ),
        bars_by_iteration(
            "Self-labels kept and dropped",
            "Pairs that the reward model labelled, by whether the filter trusted the label.",
            COUNT,
            Query(of_run("ser_iteration_pairs", "iteration", 'verdict="kept"'), "kept", GREEN),
            Query(of_run("ser_iteration_pairs", "iteration", 'verdict="dropped"'), "dropped", VERMILION),
        ),
        by_iteration(
            "Gain",
            "Dev accuracy of a loop minus the best before it. Below 0 the loop was worse.",
            SHARE,
            Query(of_run("ser_iteration_gain_ratio", "iteration"), "gain", ORANGE),
            axis=Axis(low=-0.05, high=0.05),
        ),
        by_iteration(
            "Loss and temperature",
            "Log loss on dev in nats, and the temperature that calibrates the scores: above 1 the model was too sure.",
            COUNT,
            Query(of_run("ser_iteration_dev_loss", "iteration"), "loss", VERMILION),
            Query(of_run("ser_iteration_temperature", "iteration"), "temperature", PURPLE, dashed=True),
        ),
        by_iteration(
            "Labels, confidence and truth",
            "Pairs labelled as in the loop before (one half is a coin; below 0.6 there is an alert), the mean confidence of the kept ones, "
            "how many of the seed's pairs as sure as these are labelled right by what has not seen them, and the share in Status 1, "
            "the easier case.",
            SHARE,
            Query(of_run("ser_iteration_same_labels_ratio", "iteration"), "same labels", GREEN),
            Query(of_run("ser_iteration_confidence_ratio", "iteration"), "confidence", PURPLE, dashed=True),
            Query(of_run("ser_iteration_confidence_right_ratio", "iteration"), "right", BLUE),
            Query(of_run("ser_iteration_easier_ratio", "iteration"), "kept in Status 1", SKY),
        ),
        by_iteration(
            "Scores of the pool",
            "Mean raw score of an answer, and mean difference of the two of a pair, in logits: how the scores drift.",
            COUNT,
            Query(of_run("ser_iteration_score", "iteration"), "score", BLUE),
            Query(of_run("ser_iteration_margin", "iteration"), "difference", ORANGE),
        ),
        bars_by_iteration(
            "Time of a loop",
            "From the start of its first stage to its end.",
            SECONDS,
            Query(of_run("ser_iteration_duration_seconds", "iteration"), "time", SKY),
        ),
        rows(
            "Loops",
            "The learning status of every loop beside its figures.",
            Query(of_run("ser_iteration_info", "iteration, learning_status"), "status value"),
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", 'split="dev"'), "dev accuracy"),
            Query(of_run("ser_iteration_accuracy_ratio", "iteration", accuracy), "held-out accuracy"),
            Query(of_run("ser_iteration_gain_ratio", "iteration"), "gain"),
            Query(of_run("ser_iteration_kept_ratio", "iteration"), "kept"),
            Query(of_run("ser_iteration_agreement_ratio", "iteration"), "agreement"),
            labels={"iteration": "loop", "learning_status": "learning status"},
            units=dict.fromkeys(("dev accuracy", "held-out accuracy", "gain", "kept", "agreement"), SHARE),
            hidden=["status value"],
        )
        .height(HEIGHT)
        .span(16),
        rows(
            "Controls",
            "Held-out accuracy of the models that are trained for comparison (loop.controls).",
            Query(of_run("ser_run_control_accuracy_ratio", "control"), "held-out accuracy"),
            labels={"control": "control"},
            units={"held-out accuracy": SHARE},
        )
        .height(HEIGHT)
        .span(8),
    ]


def _training() -> list[Panel]:
    panels = [
        lines(
            "Loss",
            "Mean loss of a pair, or in sft of a token, at the newest optimizer step, in nats.",
            COUNT,
            Query(of_run("ser_train_loss", _BY_STAGE), _STAGE),
        ),
        lines(
            "Gradient norm",
            "Norm of the gradient before it is clipped to 1.",
            COUNT,
            Query(of_run("ser_train_gradient_norm", _BY_STAGE), _STAGE),
        ),
        lines(
            "Learning rate",
            "Of the newest optimizer step.",
            "sci",
            Query(of_run("ser_train_learning_rate", _BY_STAGE), _STAGE),
        ).decimals(1),
        lines(
            "Steps per second",
            "Optimizer steps per second.",
            COUNT,
            Query(f"sum by ({_BY_STAGE}) (rate(ser_train_steps_total{{{RUN}}}{RATE}))", _STAGE),
        ),
        lines(
            "Pairs per second",
            "Pairs trained on per second.",
            COUNT,
            Query(f"sum by ({_BY_STAGE}) (rate(ser_train_pairs_total{{{RUN}}}{RATE}))", _STAGE),
        ),
        lines(
            "Tokens per second",
            "Tokens trained on per second, without padding.",
            COUNT,
            Query(f"sum by ({_BY_STAGE}) (rate(ser_train_tokens_total{{{RUN}}}{RATE}))", _STAGE),
        ),
    ]
    return [panel.span(THIRD) for panel in panels]


def _policy() -> list[Panel]:
    def newest(metric: str) -> str:
        return of_run(metric, "run")

    result = [
        number(
            "Final score",
            "Mean score of the aligned policy on held-out prompts, in logits; there when the run has completed.",
            COUNT,
            Query(newest("ser_run_policy_score"), "score"),
        ),
        number("Score before", "The same of the policy before PPO.", COUNT, Query(newest("ser_run_policy_baseline_score"), "score")),
        number(
            "Final distance",
            "Mean KL of a whole answer from the reference policy, in nats.",
            COUNT,
            Query(newest("ser_run_policy_kl_nats"), "KL"),
        ),
        number("Steps taken", "PPO steps of the aligned policy.", COUNT, Query(newest("ser_run_policy_steps"), "steps")),
    ]
    training = [
        lines(
            "Score",
            "Mean score of the rollouts by the reward model and by the witness, from which PPO does not learn, and the reward: the score "
            "minus the KL penalty. A score that rises while the witness falls is reward hacking.",
            COUNT,
            Query(newest("ser_policy_score"), "score", BLUE),
            Query(newest("ser_policy_witness_score"), "witness", ORANGE, dashed=True),
            Query(newest("ser_policy_reward"), "reward", GREEN),
        ),
        lines(
            "KL from the reference policy",
            "Mean KL of a whole answer in nats, and its weight in the reward.",
            COUNT,
            Query(newest("ser_policy_kl_nats"), "KL", VERMILION),
            Query(newest("ser_policy_kl_coefficient"), "weight", PURPLE, dashed=True, right=True),
        ),
        lines(
            "Steps and skipped updates",
            "PPO steps of the attempt, and updates left out because a number was not finite.",
            COUNT,
            Query(newest("ser_policy_steps_total"), "steps", BLUE),
            Query(newest("ser_policy_skipped_updates_total"), "skipped", VERMILION, right=True),
            axis=FEW,
        ),
        lines(
            "Length of answers",
            "Mean number of tokens of an answer.",
            COUNT,
            Query(newest("ser_policy_answer_tokens"), "tokens", SKY),
        ),
        lines(
            "Entropy",
            "Mean entropy of a token in nats; towards 0 the policy says always the same.",
            COUNT,
            Query(newest("ser_policy_entropy_nats"), "entropy", PURPLE),
        ),
        lines(
            "Repetition",
            "Different answers and different phrases (three tokens) among all of a step, and how much of an answer stood in it before.",
            SHARE,
            Query(newest("ser_policy_distinct_ratio"), "different answers", GREEN),
            Query(newest("ser_policy_repeated_ratio"), "repeated within an answer", VERMILION),
            Query(newest("ser_policy_distinct_triples_ratio"), "different phrases", BLUE),
        ),
        lines(
            "Shares",
            "Tokens whose ratio was clipped, answers that end by themselves, and the variance of returns that the critic explains.",
            SHARE,
            Query(newest("ser_policy_clipped_ratio"), "clipped", VERMILION),
            Query(newest("ser_policy_ended_ratio"), "ended", GREEN),
            Query(newest("ser_policy_explained_variance_ratio"), "explained by the critic", BLUE),
        ),
        lines(
            "Losses",
            "Of policy and critic.",
            COUNT,
            Query(newest("ser_policy_loss"), "policy", SKY),
            Query(newest("ser_policy_value_loss"), "critic", ORANGE),
        ),
        lines(
            "Gradient norms",
            "Before clipping.",
            COUNT,
            Query(newest("ser_policy_gradient_norm"), "policy", SKY),
            Query(newest("ser_policy_critic_gradient_norm"), "critic", ORANGE),
        ),
        lines(
            "Where the time goes",
            "Share of the time that PPO spends on writing answers, scoring them and updates.",
            SHARE,
            *(
                Query(f"{_spent(part)} / ({_spent('generate')} + {_spent('score')} + {_spent('train')})", name, colour)
                for part, name, colour in (("generate", "writing", SKY), ("score", "scoring", ORANGE), ("train", "updates", GREEN))
            ),
        ),
    ]
    return [*(panel.span(QUARTER) for panel in result), *(panel.span(THIRD) for panel in training)]


def _spent(part: str) -> str:
    return f"sum(rate(ser_policy_{part}_seconds_total{{{RUN}}}{RATE}))"


def _stages() -> list[Panel]:
    return [
        states(
            "Phases, stages and learning status",
            "When the run was in which phase, at which stage, and in which learning status.",
            Query(of_run("ser_run_phase", "phase"), "{{phase}}", BLUE),
            Query(of_run("ser_run_stage", "stage"), "{{stage}}", SKY),
            Query(of_run("ser_run_learning_status", "learning_status"), "{{learning_status}}", GREEN),
        ),
        lines(
            "Done share of a stage",
            "As the stage itself tells it.",
            SHARE,
            Query(f"max by ({_BY_STAGE}) (ser_stage_work_done{{{RUN}}} / ser_stage_work_expected{{{RUN}}})", _STAGE),
        ),
        lines("Memory", "Resident memory of the stage.", BYTES, Query(of_run("ser_stage_memory_bytes", _BY_STAGE), _STAGE)),
        lines(
            "Requests to the store that were sent again",
            "Since the start of the attempt.",
            COUNT,
            Query(of_run("ser_stage_store_retries_total", _BY_STAGE), _STAGE),
            axis=FEW,
        ),
        lines(
            "Stored",
            "What lies in the run's folder by kind, as counted when its last stage was committed.",
            BYTES,
            Query(of_run("ser_run_stored_bytes", "kind"), "{{kind}}"),
        ),
        lines(
            "GPU memory",
            "Of the fullest GPU of each pod 0: taken by tensors, kept by PyTorch, the most that was taken, and all there is.",
            BYTES,
            Query(of_run("ser_stage_gpu_memory_bytes", "use"), "{{use}}", colours=MEMORY),
        ),
        lines(
            "GPU utilisation",
            "Of every GPU that the run holds, from NVIDIA's DCGM exporter, where it runs and its labels name the pods.",
            "percent",
            Query(of_gpus("DCGM_FI_DEV_GPU_UTIL"), "GPU {{gpu}} of {{Hostname}}"),
            axis=Axis(high=100),
        ),
    ]
