"""How much is computed at once: work over draws and rows is cut so that memory stays small."""

#: Numbers that a chunk of work may hold at once.
CHUNK_NUMBERS = 4_000_000


def at_once(numbers: int) -> int:
    """Return how many pieces of work with so many numbers each make a chunk."""
    return max(1, CHUNK_NUMBERS // max(numbers, 1))


def power_of_two(count: int) -> int:
    """Return the least power of 2 that is not below a count, for shapes that programs share."""
    return 1 << (count - 1).bit_length() if count else 0
