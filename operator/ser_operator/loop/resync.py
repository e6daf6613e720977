"""LISTs of all that is watched: at the start, and every few minutes to heal what the watches have lost.

kopf lists anew after a break, and does not tell what is gone.
"""

import logging

from ser_operator.cluster.kubernetes_api import KubernetesApi
from ser_operator.cluster.transport import FORBIDDEN, NOT_FOUND, ApiError
from ser_operator.facts.cache import Cache, RunKey
from ser_operator.facts.kept import Kind
from ser_operator.facts.reading import uid
from ser_operator.objects import labels
from ser_operator.pages.telemetry import Telemetry
from ser_operator.settings import Settings

log = logging.getLogger("ser_operator")

_NEWEST = 2**63
Namespace = str | None
"""None: the whole cluster."""


class Resync:
    """Takes LISTs into the cache.

    Args:
        api: The cluster.
        cache: What is known of it.
        telemetry: Is told what the LISTs have changed.
        settings: The operator's.
    """

    def __init__(self, api: KubernetesApi, cache: Cache, telemetry: Telemetry, settings: Settings) -> None:
        self._api = api
        self._cache = cache
        self._telemetry = telemetry
        self._namespaces: tuple[Namespace, ...] = settings.namespaces or (None,)
        selector = labels.selector(settings.operator_class)
        self._selectors: dict[Kind, str] = {"SERRun": "", "Job": selector, "Pod": selector}  # parents come before their children
        self._refused: set[Namespace] = set()

    async def once(self, changed: set[RunKey]) -> None:
        """List everything.

        A namespace that has been deleted, and its Role with it, is refused: the others go on. What is known of it is forgotten when it is
        refused twice in a row, since a Role may be gone for a moment only, while somebody makes it anew.

        Args:
            changed: Gets the runs for which that changed anything, also when it fails in the middle: what the cache has taken in by then,
                no watch and no other LIST will tell again.

        Raises:
            ApiError: The API server failed, or refused every namespace.
        """
        refusals: dict[Namespace, ApiError] = {}
        for namespace in self._namespaces:
            try:
                await self._take_in(namespace, changed)
            except ApiError as error:
                if error.code not in (FORBIDDEN, NOT_FOUND):
                    raise
                refusals[namespace] = error
        if len(refusals) == len(self._namespaces):
            raise next(iter(refusals.values()))
        for namespace, refusal in refusals.items():
            log.warning("namespace %s is left out: %s; if it is to be watched, make it, and its Role by helm upgrade", namespace, refusal)
        for namespace in refusals.keys() & self._refused:
            changed.update(key for kind in self._selectors for key in self._cache.forget_unlisted(kind, (), namespace, _NEWEST))
        self._refused = set(refusals)
        self._telemetry.resynced(refused=len(refusals))

    async def _take_in(self, namespace: Namespace, changed: set[RunKey]) -> None:
        for kind, selector in self._selectors.items():
            found: set[RunKey] = set()
            try:
                await self._list(kind, namespace, selector, found)
            finally:
                self._telemetry.drifted(kind, len(found))
                changed.update(found)

    async def _list(self, kind: Kind, namespace: Namespace, selector: str, changed: set[RunKey]) -> None:
        listed: set[str] = set()
        version = 0
        async for page in self._api.pages(kind, namespace, selector):
            version = page.version
            listed |= set(map(uid, page.objects))
            changed.update(key for thing in page.objects if (key := self._cache.put(kind, thing)) is not None)
        changed.update(self._cache.forget_unlisted(kind, listed, namespace, version))
