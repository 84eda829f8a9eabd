"""How many pictures are worked on at once, so that large ones take no more memory than small ones."""

FULL = 64  # px up to which a portion has its full count


def portion(resolution: int, most: int = 64) -> int:
    """How many pictures of this resolution have as many pixels as `most` of 64 px; at least one, and never more."""
    return max(1, min(most, most * FULL**2 // resolution**2))
