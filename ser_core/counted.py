"""Numbers with what they count."""


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``, ``12,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def by_column(name: str) -> str:
    """`` by topic``, behind groups; empty for a column that is called ``group`` itself, as ``ser suggest`` names it."""
    return "" if name == "group" else f" by {name}"
