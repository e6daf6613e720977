"""What Grafana does to the answers of several queries until they are one table. It calls a value ``Value #A``, or ``Value`` when alone."""

import string
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from dashboards.queries import Query


def joined(queries: Sequence[Query]) -> list[DataTransformerConfig]:
    """One row a loop, in the order of their numbers, which as labels are text."""
    times = {name: True for number in range(len(queries) + 1) for name in (f"Time {number}", "Time")}
    return [
        DataTransformerConfig(id_val="joinByField", options={"byField": "iteration", "mode": "outer"}),
        *_by_loop(),
        DataTransformerConfig(id_val="organize", options={"renameByName": _names(queries), "excludeByName": times}),
    ]


def merged(queries: Sequence[Query], labels: Mapping[str, str], hidden: Sequence[str]) -> list[DataTransformerConfig]:
    """One row for each combination of labels.

    Args:
        queries: The columns.
        labels: Names of the first columns by their labels.
        hidden: Columns to leave out.
    """
    excluded = dict.fromkeys(["Time", *hidden], True)
    order = {name: number for number, name in enumerate([*labels.values(), *(query.name for query in queries)])}
    return [
        DataTransformerConfig(id_val="merge", options={}),
        *(_by_loop() if "iteration" in labels else []),
        DataTransformerConfig(id_val="organize", options={"renameByName": {**labels, **_names(queries)}, "excludeByName": {}}),
        DataTransformerConfig(id_val="organize", options={"excludeByName": excluded, "indexByName": order, "renameByName": {}}),
    ]


def _by_loop() -> list[DataTransformerConfig]:
    """Rows in the order of the loops' numbers."""
    order = {"sort": [{"field": "iteration"}], "fields": {}}
    return [converted("iteration", "number"), DataTransformerConfig(id_val="sortBy", options=order)]


def converted(field: str, kind: str) -> DataTransformerConfig:
    """A field as ``number`` or ``string``."""
    conversions = [{"targetField": field, "destinationType": kind}]
    return DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions, "fields": {}})


def _names(queries: Sequence[Query]) -> dict[str, str]:
    named = {f"Value #{letter}": query.name for letter, query in zip(string.ascii_uppercase, queries, strict=False)}
    return named | ({"Value": queries[0].name} if len(queries) == 1 else {})
