"""`ser suggest`: which pairs of the pool a person should label next, as files of the run that follows."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ser_core.api.spec.data import DataSpec
from ser_core.api.spec.loop import Control
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import Target, open_run
from ser_core.cli.access.writing import refuse_used, writing
from ser_core.cli.views.next_step import how_it_goes_on, warn_of_a_run_that_goes_on
from ser_core.cli.views.output import say

Pairs = Annotated[int, typer.Option("--pairs", min=1, max=10_000, metavar="NUMBER", help="Pairs to label.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="New or empty folder; left out: <name>-next here.", show_default=False),
]


def suggest(
    run: Target,
    pairs: Pairs = 50,
    output: Output = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Write the pairs whose labels would help most.

    Those of which the models are least sure, on which fold models disagree, spread over the prompts. A person writes 1, 2 or tie into
    "better"; what is printed is the data of the run that learns from it.
    """
    from ser_core.report.copies import Copies
    from ser_core.report.ledger import read_ledger
    from ser_core.report.next_seed import GROUP, SEED, TO_LABEL, write_next_seed

    stored = open_run(run, Place(namespace, context, kubeconfig))
    folder = (output or Path(f"{stored.run.metadata.name}-next")).absolute()
    refuse_used(folder, "--output")
    ledger = read_ledger(stored.store, stored.run, how_it_goes_on(stored))
    with writing(folder, "--output"), tempfile.TemporaryDirectory(prefix="ser-suggest-") as scratch:
        found = write_next_seed(Copies(stored.store, Path(scratch)), ledger, pairs, folder)
    warn_of_a_run_that_goes_on(stored.run)
    say(f'{found.to_label} pairs to label: write 1, 2 or tie into "better" of {folder / SEED / TO_LABEL}')
    beside = f"{found.seed} pairs labelled before, {found.heldout} held out, and {found.unlabeled} of the pool"
    say(f"beside them: {beside}, which a pair leaves once it has a label")
    if found.dropped:
        say(f"{' and '.join(found.dropped)} of the pairs are left out: to the new run all pairs are alike")
    where = "" if stored.cluster is None else ", once the folder lies in a bucket, with s3:// in place of file://"
    say(f"then run a copy of the SERRun under another name with this data{where}:")
    data = stored.run.spec.data
    if found.split_by == GROUP:
        say(f'"{GROUP}" of each pair says which ones belong together by {data.group_by}: leave it there')
    elif found.split_by != data.group_by:
        say("what shares splitBy is held together by prompt alone from then on, so out-of-fold accuracy flatters more than before")
    if Control.FULL in stored.run.spec.loop.controls:
        say("and without full in loop.controls, which needs the labels of the pool: they are not copied")
    print(yaml.safe_dump({"data": next_data(data, folder, found.split_by)}, sort_keys=False, allow_unicode=True), end="")


def next_data(data: DataSpec, folder: Path, split_by: str) -> dict[str, Any]:
    """`spec.data` of the run that follows: the files in ``folder``, their ``split_by``, and what the run has set beside its sources."""
    from ser_core.report.next_seed import HELDOUT, SEED, UNLABELED

    sources = {"source", "seed", "unlabeled", "heldout", "split_by"}
    kept = data.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=sources)
    files = {"seed": folder / SEED, "unlabeled": folder / UNLABELED, "heldout": folder / HELDOUT}
    by = {} if split_by == "prompt" else {"splitBy": split_by}
    return {**{name: {"uri": f"file://{path}"} for name, path in files.items()}, **by, **kept}
