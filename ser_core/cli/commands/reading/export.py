"""`ser export`: a reward model, or the policy, as a folder that plain transformers loads, with its model card."""

from pathlib import Path
from typing import Annotated

import typer

from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import LoopOption, Target, open_run
from ser_core.cli.access.writing import refuse_used, writing
from ser_core.cli.views.next_step import how_it_goes_on, warn_of_a_run_that_goes_on
from ser_core.cli.views.output import print_warning, say
from ser_core.counted import counted
from ser_core.errors import UsageError
from ser_core.shown import shown_line

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="New or empty folder.", show_default=False)]
Policy = Annotated[bool, typer.Option("--policy", help="The aligned policy in place of the reward model.")]


def export(
    run: Target,
    folder: Folder,
    policy: Policy = False,
    loop: LoopOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Copy a reward model or the policy, with its card.

    The folder then loads in plain transformers; every file is checked against its manifest. An adapter is merged into its base, which
    needs the packages of the stages: the model is the one that was evaluated, in bf16 where it was computed in bf16.
    """
    from ser_core.report.findings import doubts, told
    from ser_core.report.ledger import read_ledger
    from ser_core.report.model_card import export_model, export_policy

    if policy and loop is not None:
        hint = "leave one of them out: the policy learns from the best reward model"
        raise UsageError("--policy and --loop name two models", reason="InvalidOption", hint=hint)
    refuse_used(folder, "folder")
    stored = open_run(run, Place(namespace, context, kubeconfig))
    ledger = read_ledger(stored.store, stored.run, how_it_goes_on(stored))
    with writing(folder, "folder"):
        names = export_policy(stored.store, ledger, folder) if policy else export_model(stored.store, ledger, folder, loop)
    warn_of_a_run_that_goes_on(stored.run)
    exported = ledger.model_of(loop)
    if doubt := doubts(exported):
        print_warning(f"{told(exported)} {doubt}")
    model = "the policy" if policy else "the best reward model" if loop is None else told(exported)
    say(f"{counted(len(names), 'file')} of {model}, and README.md")
    print(shown_line(str(folder)))
