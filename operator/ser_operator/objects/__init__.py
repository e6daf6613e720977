"""From decisions to objects of the cluster: Jobs, gangs, Services, labels, Events. Pure."""

from typing import Any

Object = dict[str, Any]
"""One that is made. What the cluster holds is `facts.reading.Object`."""
