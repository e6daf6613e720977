"""Numbers with what they count."""


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``, ``12,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
