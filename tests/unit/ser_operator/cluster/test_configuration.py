"""Who starts the operator by hand with a wrong kubeconfig is told so in two lines."""

import asyncio
import os
import subprocess
import sys

import pytest

from ser_core.errors import SpecError
from ser_operator.cluster.transport import configuration

CLUSTER = "clusters: [{name: a, cluster: {server: 'https://a', certificate-authority: /absent/ca.crt}}]"
CONTEXT = "contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\nusers: [{name: a, user: {token: x}}]"


@pytest.mark.parametrize("text", [None, "", "{", "kind: Config", f"{CLUSTER}\n{CONTEXT}"])
def test_a_kubeconfig_that_names_no_cluster_is_named(tmp_path, text):
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SpecError, match=f"KUBECONFIG={file} names no cluster: "):
        asyncio.run(configuration({"KUBECONFIG": str(file)}))


def test_a_kubeconfig_that_only_lists_could_use_is_refused(tmp_path):
    file = tmp_path / "kubeconfig"
    file.write_text(f"clusters: [{{name: a, cluster: {{server: 'https://a', tls-server-name: kubernetes}}}}]\n{CONTEXT}")
    with pytest.raises(SpecError, match="tls-server-name: kubernetes, which the operator's watches cannot use"):
        asyncio.run(configuration({"KUBECONFIG": str(file)}))


def test_the_operator_says_it_without_a_traceback():
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"} | {"SER_OPERATOR_IMAGE": "x"}
    command = [sys.executable, "-m", "ser_operator.main"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    told, hint = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (SpecError.exit_code, "")
    assert told.startswith("error: KUBECONFIG is not set, and this is no pod of a cluster: ")
    assert hint.startswith("hint: set KUBECONFIG")
