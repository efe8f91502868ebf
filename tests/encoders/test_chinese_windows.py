"""Windows of Chinese and mixed contexts with WordPiece: an answer comes back as it is written."""

import pytest
import word_pieces

from albert_tf.pipelines.task_data import squad
from albert_tf.pipelines.task_data.squad import GoldAnswer, Question
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

CONTEXT = (
    "《巴黎》由ＡＢＣ公司在２００８年出版，Café Müller 的 cafe\u0301 很好😀👨‍👩‍👧，"
    "unaffable 的北京\u3000大学有3,000人。"
)


@pytest.fixture(scope="module")
def tokenizer():
    # Neither emoji nor full-width letters have pieces: they are unknown, and have places.
    pieces = word_pieces.make_pieces([*word_pieces.CHINESE, "cafe muller 大学公司年出版由在很好"])
    return Tokenizer.from_word_pieces(WordPieceVocabulary(pieces))


@pytest.mark.parametrize("length", [20, 64, 128])
@pytest.mark.parametrize(
    "answer",
    [
        "巴黎",
        "《巴黎》",
        "ＡＢＣ公司",
        "２００８年",
        "Café",
        "cafe\u0301",
        "cafe",  # a mark belongs to the letter before it
        "😀",  # one of several pictures that are one word
        "北京\u3000大学",
        "3,000人",
        "00人",
    ],
)
def test_answer_is_the_slice_that_was_marked(tokenizer, answer, length):
    start = CONTEXT.index(answer)
    question = Question("a", "巴黎？", CONTEXT, "", (GoldAnswer(answer, start),), False)
    encoded = squad.encode([question], tokenizer, length, 6, 8, training=True)
    texts = [text for text in squad.trained_answers([question], encoded) if text is not None]
    assert texts and set(texts) == {answer}


def test_spans_of_tokens_by_hand(tokenizer):
    spans = tokenizer.encode_with_offsets("巴黎ＡＢ Café\u0301😀 unaffable")[1]
    slices = ["巴黎ＡＢ Café\u0301😀 unaffable"[start:end] for start, end in spans]
    assert slices[:2] == ["巴", "黎"]
    assert "".join(slices).replace(" ", "") == "巴黎ＡＢCafé\u0301😀unaffable"
