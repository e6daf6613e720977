"""Write the table of values into the chart's README. A test compares."""

import json
from pathlib import Path

from chart_readme.values import values

CHART = Path(__file__).parents[1] / "ser-operator"
README = CHART / "README.md"
BEGIN, END = "<!-- values, by PYTHONPATH=charts python -m chart_readme -->\n", "<!-- end of the values -->\n"


def table() -> str:
    """The values as a Markdown table."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    rows = ["| value | form | default | |", "|---|---|---|---|"]
    for one in values((CHART / "values.yaml").read_text(encoding="utf-8"), schema):
        default = f"`{one.default}`" if one.default else "see `values.yaml`"
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{one.path}`", one.form, default, one.meaning)) + " |")
    return "\n".join(rows) + "\n"


def text(readme: str) -> str:
    """The README with the table as it must be; the rest of it is written by hand."""
    head, _, rest = readme.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(text(README.read_text(encoding="utf-8")), encoding="utf-8")
