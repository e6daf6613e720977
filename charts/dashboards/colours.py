"""Okabe and Ito's colours, told apart with any colour vision; without black and yellow, which vanish on one of the two themes."""

SKY = "#56B4E9"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
BLUE = "#0072B2"

PHASES = {
    **{"Pending": SKY, "Queued": SKY, "Running": BLUE, "Waiting": ORANGE},
    **{"Suspended": PURPLE, "BudgetExceeded": ORANGE, "Completed": GREEN, "Failed": VERMILION},
}
KINDS = {"SERRun": BLUE, "Job": ORANGE, "Pod": GREEN}
RESULTS = {"ok": GREEN, "conflict": SKY, "retried": ORANGE, "error": VERMILION}
MEMORY = {"allocated": SKY, "reserved": ORANGE, "peak": VERMILION, "total": PURPLE}
