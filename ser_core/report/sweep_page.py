"""The table of a sweep as one HTML page that needs nothing else."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from ser_core.loop.deciding.significance import shown_p
from ser_core.report.charts import percent
from ser_core.sweep.results import ArmResult
from ser_core.sweep.words import note


def render(name: str, rows: Sequence[ArmResult], baseline: str, missing: Sequence[str]) -> str:
    """The page. Equal rows give equal pages."""
    environment = Environment(loader=PackageLoader("ser_core.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"percent": percent, "shown_p": shown_p}
    template = environment.get_template("sweep.html.j2")
    return template.render(name=name, rows=rows, baseline=baseline, notes=note(rows, baseline, missing).split("\n"))
