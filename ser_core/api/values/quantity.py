"""Kubernetes quantities as numbers."""

from decimal import Decimal

_POWERS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_FACTORS = {"m": Decimal("0.001"), **{suffix: Decimal(power) for suffix, power in _POWERS.items()}}


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a number."""
    suffix = next((suffix for suffix in sorted(_FACTORS, key=len, reverse=True) if text.endswith(suffix)), "")
    return Decimal(text.removesuffix(suffix)) * _FACTORS.get(suffix, Decimal(1))
