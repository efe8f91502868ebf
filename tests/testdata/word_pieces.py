"""A small `vocab.txt` of the kind of Google's Chinese models, made of the texts themselves."""

import collections

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHINESE = [
    "巴黎是法国的首都。",
    "这部电影很好看！",
    "我不喜欢这部电影，太长了。",
    "北京 2008 年举办奥运会, unaffable Café.",
]
# Two groups that a model of any size can tell apart: good films and bad ones.
GOOD = ["很好看", "非常好", "真好", "好电影", "我喜欢"]
BAD = ["太差了", "不好看", "真难看", "差电影", "讨厌它"]


def make_pieces(texts, characters=6000, words=1500):
    """Returns special pieces, the characters of the texts alone and inside words, and words."""
    counts = collections.Counter("".join(texts))
    letters = [c for c, _ in counts.most_common(characters) if not c.isspace() and c != "\0"]
    found = collections.Counter(word for text in texts for word in text.lower().split())
    frequent = [w for w, _ in found.most_common(words) if w.isascii() and w.isalnum() and w[1:]]
    pieces = [*SPECIAL, *letters, *(letter.lower() for letter in letters)]
    pieces += [f"##{letter}" for letter in letters if letter.isalnum()]
    pieces += frequent + [f"##{word[1:]}" for word in frequent]
    return list(dict.fromkeys(pieces))


def write_vocab_txt(path, texts=(*CHINESE, *GOOD, *BAD)):
    """Writes the pieces of the texts, one a line; returns how many."""
    pieces = make_pieces(texts)
    path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    return len(pieces)
