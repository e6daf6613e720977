"""Which pairs with human labels a stage trains on."""

from ser_core.api.stage import InputRole
from ser_core.data.tables import LabeledPair, read_table
from ser_jobs.process.context import StageContext


def labeled(context: StageContext) -> list[LabeledPair]:
    """The pairs with human labels that are trained on: the seed, and its dev part where cross-fitting makes it needless."""
    tables = ("seed.parquet",) if context.spec.spec.loop.fold_count is None else ("seed.parquet", "dev.parquet")
    return [pair for name in tables for pair in read_table(context.fetch(InputRole.PREPARED, name), LabeledPair)]
