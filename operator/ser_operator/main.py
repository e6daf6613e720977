"""`ser-operator`: the process. Settings from the environment, one JSON line an event, exit code 0 only after SIGTERM."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime

from ser_core import deep_json
from ser_core.errors import SERError
from ser_core.version import VERSION
from ser_operator.cluster.kubernetes_api import Cluster
from ser_operator.cluster.transport import configuration
from ser_operator.loop.engine import Engine
from ser_operator.settings import Settings, from_environment


class JsonLines(logging.Formatter):
    """One JSON object a line, as every log collector reads it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def main() -> int:
    """Run the operator until SIGTERM."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # says "succeeded" at every event
    deep_json.install()
    gc.freeze()  # imported modules are no garbage
    gc.set_threshold(10_000, 10, 10)  # by default a sixth of the time went into looking for garbage among cached objects
    try:
        asyncio.run(_run(from_environment(os.environ)))
    except SERError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except Exception:
        logging.getLogger("ser_operator").exception("the operator ends, to be started anew")
        return 1
    return 0


def introduction(settings: Settings) -> str:
    """Which operator it is, and whose runs it takes, as the first line of its log says it."""
    where = f"namespaces {', '.join(settings.namespaces)}" if settings.namespaces else "all namespaces"
    of_class = f" of operatorClass {settings.operator_class}" if settings.operator_class else ""
    return f"ser-operator {VERSION} takes the runs{of_class} of {where}; stages run {settings.image}"


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    found = await configuration()
    logging.getLogger("ser_operator").info("%s", introduction(settings))
    async with Cluster(found, settings.request_seconds) as cluster:
        await Engine(cluster, found, settings).run(stop)


if __name__ == "__main__":
    sys.exit(main())
