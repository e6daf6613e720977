"""*Operator*: does the operator keep up, and does the API server answer it? Rate, errors and duration first."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.boards import board
from dashboards.colours import KINDS, ORANGE, PHASES, RESULTS, SKY, VERMILION
from dashboards.panels import BYTES, COUNT, FEW, PER_SECOND, SECONDS, SHARE, Axis, Panel, lines, number, word
from dashboards.queries import RATE, Query

_ITS_PROCESS = "and on (instance) ser_operator_build_info"
_ALL_RECONCILES = f"sum(rate(ser_operator_reconciles_total{RATE}))"
_FAILED_RECONCILES = (
    f'sum(rate(ser_operator_reconciles_total{{result=~"error|retried"}}{RATE}) or 0 * rate(ser_operator_reconciles_total{RATE}))'
)
_FAILED_SHARE = f"{_FAILED_RECONCILES} / {_ALL_RECONCILES}"
_AGE_OF_LIST = "time() - max(ser_operator_resync_last_success_timestamp_seconds)"


def operator() -> Dashboard:
    """The board."""
    return board(
        "ser-operator",
        "SER / Operator",
        "Does the operator keep up, and does the API server answer it?",
        [
            ("Now", _now()),
            ("Reconciles", _reconciles()),
            ("API server", _requests()),
            ("What it knows", _knowledge()),
            ("Process", _process()),
        ],
    )


def _now() -> list[Panel]:
    return [
        word("Version", "The version that runs.", "version", "max by (version) (ser_operator_build_info)"),
        number("Runs", "SERRuns that the operator knows of.", COUNT, Query("sum(ser_operator_runs)", "runs")),
        number(
            "Failed reconciles", "Share of the reconciles; above 10 % there is an alert.", SHARE, Query(_FAILED_SHARE, "failed"), alarm=0.1
        ),
        number(
            "Wait in the queue",
            "90 % of the reconciles began within it after they were due; above 5 s there is an alert.",
            SECONDS,
            _quantile(0.9, "ser_operator_queue_latency_seconds", "wait", SKY),
            alarm=5,
        ),
        number("Age of the last full list", "Above 20 minutes there is an alert.", SECONDS, Query(_AGE_OF_LIST, "age"), alarm=1200),
        number("Memory", "Resident memory.", BYTES, Query(f"sum(process_resident_memory_bytes {_ITS_PROCESS})", "memory")),
    ]


def _quantile(share: float, metric: str, name: str, colour: str, by: str = "") -> Query:
    labels = f"le, {by}" if by else "le"
    return Query(f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{RATE})))", name, colour)


def _quantiles(metric: str) -> list[Query]:
    return [
        _quantile(share, metric, name, colour)
        for share, name, colour in ((0.5, "half", SKY), (0.9, "90 %", ORANGE), (0.99, "99 %", VERMILION))
    ]


def _reconciles() -> list[Panel]:
    return [
        lines(
            "Reconciles by result",
            "Reconciles a second. `conflict`: the run changed meanwhile; `retried`: the API server failed; `error`: a defect.",
            PER_SECOND,
            Query(f"sum by (result) (rate(ser_operator_reconciles_total{RATE}))", "{{result}}", colours=RESULTS),
        ),
        lines(
            "Failed share",
            "Reconciles that failed; above 10 % for 10 minutes there is an alert.",
            SHARE,
            Query(_FAILED_SHARE, "failed", VERMILION),
            axis=Axis(high=0.1),
        ),
        lines(
            "Duration of a reconcile",
            "Time within which half, 90 % and 99 % of the reconciles ended.",
            SECONDS,
            *_quantiles("ser_operator_reconcile_duration_seconds"),
        ),
        lines(
            "Wait in the queue",
            "From when a run became due to its reconcile; above 5 s for 10 % there is an alert.",
            SECONDS,
            *_quantiles("ser_operator_queue_latency_seconds"),
        ),
        lines("Queue", "Runs that wait for their reconcile.", COUNT, Query("sum(ser_operator_queue_depth)", "waiting", ORANGE), axis=FEW),
        lines(
            "Runs by phase",
            "SERRuns that the operator knows of.",
            COUNT,
            Query("sum by (phase) (ser_operator_runs)", "{{phase}}", colours=PHASES),
        ),
    ]


def _requests() -> list[Panel]:
    return [
        lines(
            "API requests by code",
            "Requests to the API server beside the watches. Code 0 is no answer.",
            "reqps",
            Query(f"sum by (verb, code) (rate(ser_operator_api_requests_total{RATE}))", "{{verb}} {{code}}"),
        ),
        lines(
            "API request time",
            "Time within which 90 % of the requests were answered.",
            SECONDS,
            _quantile(0.9, "ser_operator_api_request_duration_seconds", "{{verb}}", ORANGE, by="verb"),
        ),
        lines(
            "Watch events",
            "Events that the watches brought.",
            PER_SECOND,
            Query(f"sum by (kind) (rate(ser_operator_watch_events_total{RATE}))", "{{kind}}", colours=KINDS),
        ),
        lines(
            "Age of the newest event",
            "Time since a watch last brought an event. Long is normal where nothing happens.",
            SECONDS,
            Query("time() - max by (kind) (ser_operator_watch_last_event_timestamp_seconds)", "{{kind}}", colours=KINDS),
        ),
    ]


def _knowledge() -> list[Panel]:
    panels = [
        lines(
            "Cached objects",
            "What the operator knows of.",
            COUNT,
            Query("sum by (kind) (ser_operator_cached_objects)", "{{kind}}", colours=KINDS),
        ),
        lines(
            "Age of the last full list",
            "Everything is listed every 5 minutes; above 20 there is an alert.",
            SECONDS,
            Query(_AGE_OF_LIST, "age", ORANGE),
        ),
        lines(
            "Changes that no watch had told",
            "Objects that a full list showed otherwise than the watches had, since the start; the first list tells all. "
            "And the watched namespaces that the last list could not read.",
            COUNT,
            Query("sum by (kind) (ser_operator_resync_changes_total)", "{{kind}}", colours=KINDS),
            Query("sum(ser_operator_refused_namespaces)", "refused namespaces", VERMILION),
            axis=FEW,
        ),
    ]
    return [panel.span(8) for panel in panels]


def _process() -> list[Panel]:
    return [
        lines(
            "CPU",
            "CPU seconds a second.",
            COUNT,
            Query(f"rate(process_cpu_seconds_total{RATE}) {_ITS_PROCESS}", "{{instance}}"),
        ),
        lines("Memory", "Resident memory.", BYTES, Query(f"process_resident_memory_bytes {_ITS_PROCESS}", "{{instance}}")),
    ]
