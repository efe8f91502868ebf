"""An even sample of what a text gives, however much that is."""

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from albert_tf.pipelines.text import corpus
from albert_tf.pipelines.text.settings import TextSettings
from albert_tf.settings import setting

Item = TypeVar("Item")

_ITEMS_BETWEEN_REPORTS = 200_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSettings(TextSettings):
    """How text is read, and a file made of a sample of it."""

    seed: int = setting(12345, "Of the sample and of what is made of it.")
    overwrite: bool = setting(False, "Replace an output that exists.")


def sample_documents(
    inputs: str | Sequence[str],
    find: Callable[[corpus.Document], Iterator[Item]],
    size: int,
    settings: SampleSettings,
    rng: random.Random,
    report: Callable[[str], None],
    name: str,
) -> list[Item]:
    """Returns an even sample of what `find` finds in the documents of files.

    Args:
        inputs: file patterns, as `corpus.read_documents` takes them.
        find: called with a document at a time.
        size: most items to keep.
        settings: how the files are read.
        rng: draws the items.
        report: called with a line of progress now and then.
        name: what the items are called in it.
    """
    documents = corpus.read_documents(
        inputs, tfds_data_dir=settings.tfds_data_dir, **settings.reading()
    )
    found = (item for document in documents for item in find(document))
    return sample_evenly(found, size, rng, report, name)


def sample_evenly(
    items: Iterable[Item], size: int, rng: random.Random, report: Callable[[str], None], name: str
) -> list[Item]:
    """Returns `size` items of a stream, each as likely as any other.

    It is Vitter's algorithm R: what may be read once only never stands in memory as a whole.

    Args:
        items: the stream.
        size: most items to keep.
        rng: draws them.
        report: called with a line of progress now and then.
        name: what the items are called in it.
    """
    kept = []
    for count, item in enumerate(items, 1):
        if len(kept) < size:
            kept.append(item)
        elif (place := rng.randrange(count)) < size:
            kept[place] = item
        if count % _ITEMS_BETWEEN_REPORTS == 0:
            report(f"found {count:,} {name}")
    return kept
