"""Texts of all that a tokenizer may meet, drawn at random."""

import random

FRAGMENTS = (
    *(
        "the old cat sat",
        "A Café",
        "2,000, ",
        "In 1999, it",
        "ﬁne",
        "１２，",
        "\u0301",
        "😀👩‍👩‍👧",
        "\u200d",
    ),
    *(
        " ",
        "\t\n",
        "\x0b",
        "\x1c",
        "\x85",
        "\u3000",
        "\u2028",
        "\xa0",
        "\x00",
        "\ufffd",
        "日本語",
        "ß",
        "İ",
    ),
    *(
        "[MASK]",
        "[MASK].",
        " [MASK] ",
        "[CLS]",
        "[SEP]",
        "[mask]",
        "[MASK",
        "<pad>",
        "_",
        "__",
        "▁",
    ),
    *("don't", "x" * 40, "(a)", "\ud7a3", "\U0010ffff", "e\u0301", "½", "㎏", "..."),
)


def random_texts(seed, count=150):
    """Returns texts of fragments and stray characters, the empty one first."""
    draw = random.Random(seed)
    texts = ["", " ", "\n"]
    while len(texts) < count:
        parts = draw.choices(FRAGMENTS, k=draw.randrange(12))
        parts += [chr(draw.choice((*range(0x20, 0x250), *range(0x1E00, 0x2100), 0x1F600)))]
        draw.shuffle(parts)
        texts.append(draw.choice(("", " ")).join(parts))
    return texts
