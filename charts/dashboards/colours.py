"""Okabe and Ito's colours, told apart with any colour vision; without black and yellow, which vanish on one of the two themes."""

SKY = "#56B4E9"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
BLUE = "#0072B2"
GREY = "#999999"
WINE = "#882255"
"""Paul Tol's, for what has more states than Okabe and Ito have colours."""

PHASES = {
    **{"Pending": SKY, "Queued": GREY, "Running": BLUE, "Waiting": WINE},
    **{"Suspended": PURPLE, "BudgetExceeded": ORANGE, "Completed": GREEN, "Failed": VERMILION},
}
KINDS = {"SERRun": BLUE, "Job": ORANGE, "Pod": GREEN}
RESULTS = {"ok": GREEN, "conflict": SKY, "retried": ORANGE, "error": VERMILION}
MEMORY = {"allocated": SKY, "reserved": ORANGE, "peak": VERMILION, "total": PURPLE}
