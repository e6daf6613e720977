"""Whether the cluster would take the run, and some node hold its pods."""

from pathlib import Path

from ser_core.api.serrun import SERRun
from ser_core.cli.access.cluster import connect_cluster
from ser_core.cli.access.node_fit import fits
from ser_core.cli.access.place import Place
from ser_core.cli.access.serrun_file import read_document
from ser_core.cli.checks.check import Check
from ser_core.errors import ClusterAccessDenied


def check_server(run: SERRun, file: Path, place: Place) -> Check:
    """The API server would take the SERRun as it is written, new or as a change of the run that it has."""
    cluster = connect_cluster(place)
    cluster.dry_run(read_document(file), run.metadata.name)
    return Check("server", (f"{cluster.namespace}/{run.metadata.name} would be taken (dry run, nothing was created)",))


def check_nodes(run: SERRun, place: Place) -> Check:
    """Some node could hold the pods of each kind of stage. If none can, that is a warning only: an autoscaler may add one."""
    try:
        nodes = connect_cluster(place).nodes()
    except ClusterAccessDenied as error:
        return Check("nodes", ("not checked",), (f"whether some node fits is not known: {error.message}",))
    found = fits(run.spec, nodes)
    lines = tuple(f"{fit.stage}: {fit.wanted}: {_on(fit.nodes)}" for fit in found)
    unfit = tuple(f"resources.{fit.stage} ({fit.wanted}) fits no node; nearest is {fit.nearest}" for fit in found if not fit.nodes)
    return Check("nodes", lines, unfit)


def _on(nodes: tuple[str, ...]) -> str:
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"fits {nodes[0]}{more}" if nodes else "fits no node now"
