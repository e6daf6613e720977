"""`ser diff`: two runs beside each other."""

from typing import Annotated

import typer

from ser_core.cli.access.comparison import compare_runs
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import Target, is_file, open_run
from ser_core.cli.views.diff_view import diff_data, diff_view
from ser_core.cli.views.output import Format, FormatOption, print_data, standard_output

Other = Annotated[str, typer.Argument(metavar="OTHER", help="The run to compare it with: name or file, as RUN.", show_default=False)]


def diff(
    run: Target,
    other: Other,
    output: FormatOption = Format.TEXT,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Compare two runs.

    Spec, label budget, and loop by loop the accuracies, with a paired test where both were evaluated on the same pairs.
    """
    place = Place(namespace, context, kubeconfig)
    # One of them may be a run of this machine, and the options then mean the other one.
    a, b = (open_run(one, Place() if is_file(one) else place) for one in (run, other))
    compared = compare_runs(a, b)
    if output is Format.TEXT:
        standard_output().print(diff_view(compared))
    else:
        print_data(diff_data(compared), output)
