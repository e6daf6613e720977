"""What tells one cluster from others, for marks in a store that several may share."""

import hashlib
import re

CLUSTER = "SER_CLUSTER"
"""Environment variable by which the operator tells its stages the identity of the cluster."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def cluster_identity(authorities: str) -> str:
    """What tells a cluster from others: half of the SHA-256 of its certificate authorities (PEM), which every pod is given; empty: none."""
    found = sorted("".join(one.split()) for one in _CERTIFICATE.findall(authorities))
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:32] if found else ""
