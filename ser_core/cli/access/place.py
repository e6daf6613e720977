"""Which cluster and namespace the command line names."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of a run on a cluster.", show_default=False)]
ContextOption = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", show_default=False)]
KubeconfigOption = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster and namespace that the command line names. The kubeconfig gives what it leaves out."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    @property
    def given(self) -> bool:
        """Whether the command line says anything."""
        return (self.namespace, self.context, self.kubeconfig) != (None, None, None)

    @property
    def options(self) -> str:
        """The same as options of a command, as a shell reads them, with a space before each."""
        named = {"-n": self.namespace, "--context": self.context, "--kubeconfig": self.kubeconfig}
        return "".join(f" {name} {shlex.quote(str(value))}" for name, value in named.items() if value is not None)
