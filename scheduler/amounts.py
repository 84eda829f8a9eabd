"""Amounts as people read them."""


def hours_text(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds / 3600:.3g}"


def counted(count: int, noun: str) -> str:
    """So many of them, as in "1 trial" and "2,000 trials": nouns with a regular plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def bytes_text(count: float | None) -> str:
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
