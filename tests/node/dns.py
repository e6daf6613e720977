"""A cluster's DNS: dnsmasq, told the names of Services and of pods behind headless ones."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3

from controlplane.plane.api_client import ApiClient, ApiError, Object
from controlplane.plane.part import Part
from controlplane.plane.watchdog import Watchdog
from node import addresses

_SECONDS = 0.5
_SERVICE = "/api/v1/namespaces/kube-system/services"
_SLICE = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
_NAME = "kube-dns"


class Dns:
    """Runs from entering the context to leaving it, behind the Service kube-dns."""

    def __init__(self, api: ApiClient, folder: Path, watchdog: Watchdog) -> None:
        self._api = api
        self._hosts = folder / "hosts"
        flags = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--bind-interfaces", "--pid-file=", "--log-facility=-"]
        flags += [f"--listen-address={addresses.DNS}", f"--addn-hosts={self._hosts}", "--local=/cluster.local/"]
        flags += ["--local-ttl=1", "--neg-ttl=1"]
        self._part = Part("dnsmasq", ["dnsmasq", *flags], folder, watchdog)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="dns", daemon=True)

    def __enter__(self) -> Self:
        self._hosts.write_text("")
        self._part.start()
        ports = [{"name": f"dns-{one.lower()}", "port": 53, "protocol": one} for one in ("UDP", "TCP")]
        self._api.create(_SERVICE, {"metadata": {"name": _NAME}, "spec": {"clusterIP": addresses.DNS_SERVICE, "ports": ports}})
        labels = {"kubernetes.io/service-name": _NAME}
        endpoints = {"addressType": "IPv4", "ports": ports, "endpoints": [{"addresses": [addresses.DNS], "conditions": {"ready": True}}]}
        self._api.create(_SLICE, {"metadata": {"name": _NAME, "labels": labels}, **endpoints})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._part.end()

    def _follow(self) -> None:
        known = ""
        while not self._stop.wait(_SECONDS):
            with contextlib.suppress(ApiError, urllib3.exceptions.HTTPError):  # the API server may be away: names stay
                services = self._api.items("/api/v1/services")
                slices = self._api.items("/apis/discovery.k8s.io/v1/endpointslices")
                told = "".join(f"{line}\n" for line in sorted(set(records(services, slices))))
                if told != known:
                    self._hosts.write_text(told)
                    os.kill(self._part.pid, signal.SIGHUP)
                    known = told


def records(services: list[Object], slices: list[Object]) -> Iterator[str]:
    """Lines of a hosts file: a Service by its address, a headless one by its pods', and each of these by its own name, too."""
    headless = set()
    for service in services:
        name = _full_name(service["metadata"]["name"], service["metadata"]["namespace"])
        if service["spec"].get("clusterIP") == "None":
            headless.add(name)
        else:
            yield f"{service['spec']['clusterIP']} {name}"
    for piece in slices:
        name = _full_name(piece["metadata"].get("labels", {}).get("kubernetes.io/service-name", ""), piece["metadata"]["namespace"])
        for endpoint in (piece.get("endpoints") or ()) if name in headless else ():
            if endpoint.get("conditions", {}).get("ready") is not False:
                for address in endpoint["addresses"]:
                    yield f"{address} {name}"
                    if endpoint.get("hostname"):
                        yield f"{address} {endpoint['hostname']}.{name}"


def _full_name(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.cluster.local"
