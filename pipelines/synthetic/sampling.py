"""An even sample of what a text gives, however much that is."""

import random
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

_ITEMS_BETWEEN_REPORTS = 200_000


def sample_evenly(
    items: Iterable[Item], size: int, rng: random.Random, report: Callable[[str], None], name: str
) -> tuple[list[Item], int]:
    """Returns `size` items of a stream, each as likely as any other, and how many there were.

    It is Vitter's algorithm R: what may be read once only never stands in memory as a whole.

    Args:
        items: the stream.
        size: most items to keep.
        rng: draws them.
        report: called with a line of progress now and then.
        name: what the items are called in it.
    """
    kept, count = [], 0
    for count, item in enumerate(items, 1):
        if len(kept) < size:
            kept.append(item)
        elif (place := rng.randrange(count)) < size:
            kept[place] = item
        if count % _ITEMS_BETWEEN_REPORTS == 0:
            report(f"found {count:,} {name}")
    return kept, count
