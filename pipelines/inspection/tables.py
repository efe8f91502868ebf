"""Figures as a table: a row for each figure, a column for each kind of examples."""

from collections.abc import Mapping, Sequence

from albert_tf.pipelines.inspection.example_statistics import LONGEST_RUN, ExampleStatistics

Column = Mapping[str, str]  # {name of a figure: as it is shown}


def format_table(columns: Mapping[str, Column]) -> str:
    """Returns lines of {heading: column}; a figure that no column has is no row.

    For example
                        train  held_out
        files               4         1
        examples        4,210        56
    """
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [["", *columns]]
    rows += [[name, *(column.get(name, "") for column in columns.values())] for name in names]
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    return "\n".join(_format_row(row, widths) for row in rows)


def _format_row(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
    return "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def describe_examples(statistics: ExampleStatistics) -> Column:
    """Returns the figures of examples."""
    counts = {
        "examples": f"{statistics.examples:,}",
        "tokens": f"{statistics.tokens:,}",
        "masked tokens": f"{statistics.masked:,}",
    }
    if not statistics.examples:
        return counts
    masked = max(statistics.masked, 1)
    shares = {
        "segments swapped": statistics.swapped / statistics.examples,
        "masked of tokens": statistics.masked / max(statistics.tokens, 1),
    }
    if statistics.shown_as_mask:
        shown, kept = statistics.shown_as_mask, statistics.kept
        shares["masked: seen as [MASK]"] = shown / masked
        shares["masked: seen as it is"] = kept / masked
        shares["masked: seen as another"] = 1 - (shown + kept) / masked
    runs = statistics.runs
    if runs.sum():
        for words in range(1, LONGEST_RUN + 1):
            unit = f"{words} word" if words == 1 else f"{words} words"
            unit += " or more" if words == LONGEST_RUN else ""
            shares[f"masked runs of {unit}"] = runs[words] / runs.sum()
    shares["padding"] = statistics.padding_share()
    lengths = {
        "shortest, tokens": f"{statistics.length_quantile(0):,}",
        "median, tokens": f"{statistics.length_quantile(0.5):,}",
        "mean, tokens": f"{statistics.tokens / statistics.examples:,.1f}",
        "longest, tokens": f"{statistics.length_quantile(1):,}",
    }
    return counts | {name: f"{share:.1%}" for name, share in shares.items()} | lengths
