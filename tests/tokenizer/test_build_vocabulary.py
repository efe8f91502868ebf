import functools
import pathlib
import subprocess
import sys

import pytest

from albert_tf.pipelines import build_vocabulary as build_vocabulary_module
from albert_tf.pipelines.build_vocabulary import build_vocabulary
from albert_tf.pipelines.tokenizer import model_proto
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

TESTS = pathlib.Path(__file__).parents[1]
WORDS = "river bridge painter library station winter morning bread window letter".split()


@pytest.fixture
def text_file(tmp_path):
    """Two hundred short sentences with capitals, accents and years."""
    path = tmp_path / "text.txt"
    lines = [
        f"The {WORDS[i % 10]} of the {WORDS[i // 10 % 10].upper()} in {1900 + i}, a Café."
        for i in range(200)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_special_and_punctuation_pieces_have_the_originals_ids(text_file, tmp_path):
    output = tmp_path / "vocab.model"
    summary = build_vocabulary(str(text_file), 60, output)
    tokenizer = Tokenizer(output)
    assert tokenizer.pieces[:13] == [
        *("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        *("(", ")", '"', "-", ".", "–", "£", "€"),
    ]
    assert tokenizer.vocab_size == summary.vocab_size == 60
    assert summary.fingerprint == tokenizer.fingerprint
    assert output.read_bytes() == tokenizer.model_bytes
    assert (summary.sentences, summary.sentences_sampled) == (200, 200)
    assert summary.documents == 1


def test_pieces_are_learned_from_cleaned_text(text_file, tmp_path):
    build_vocabulary([str(text_file)], 60, tmp_path / "vocab.model")
    tokenizer = Tokenizer(tmp_path / "vocab.model")
    letters = set("".join(tokenizer.pieces[13:]))
    assert not any(letter.isupper() for letter in letters)
    assert "é" not in letters
    assert tokenizer.unk_id not in tokenizer.encode("The RIVER café")


@pytest.mark.slow
def test_cased_and_accented_vocabularies_keep_both(text_file, tmp_path):
    output = tmp_path / "vocab.model"
    build_vocabulary([str(text_file)], 90, output, lower_case=False, strip_accents=False)
    tokenizer = Tokenizer(output)
    assert (tokenizer.lower_case, tokenizer.strip_accents) == (False, False)
    assert {"T", "é"} <= set("".join(tokenizer.pieces))
    assert tokenizer.decode(tokenizer.encode("The Café")) == "The Café"


@pytest.mark.slow
def test_same_text_and_seed_give_the_same_bytes(text_file, tmp_path):
    def bytes_of(name, **options):
        build_vocabulary([str(text_file)], 60, tmp_path / name, **options)
        return (tmp_path / name).read_bytes()

    assert bytes_of("a.model") == bytes_of("b.model")
    sampled = bytes_of("c.model", max_sentences=120, seed=1)
    assert sampled == bytes_of("d.model", max_sentences=120, seed=1)
    assert sampled != bytes_of("e.model", max_sentences=120, seed=2)


def test_no_trace_of_the_machine_is_left_in_the_model(text_file, tmp_path):
    build_vocabulary([str(text_file)], 60, tmp_path / "vocab.model")
    content = (tmp_path / "vocab.model").read_bytes()
    assert str(tmp_path).encode() not in content and b"rules.tsv" not in content
    model = model_proto.ModelProto.FromString(content)
    assert model.normalizer_spec.name == "albert_lower_case"
    assert not model.trainer_spec.input and not model.trainer_spec.model_prefix


def test_a_size_that_the_text_does_not_allow_names_the_one_it_does(text_file, tmp_path):
    output = tmp_path / "vocab.model"
    with pytest.raises(ValueError, match=r"at most (\d+) pieces.*Received: 5000") as error:
        build_vocabulary([str(text_file)], 5000, output)
    largest = int(str(error.value).split("at most ")[1].split()[0])
    with pytest.raises(ValueError, match=r"at least (\d+) is needed.*Received: 20") as error:
        build_vocabulary([str(text_file)], 20, output)
    smallest = int(str(error.value).split("at least ")[1].split()[0])
    assert not output.exists()
    build_vocabulary([str(text_file)], largest, output)
    build_vocabulary([str(text_file)], smallest, output, overwrite=True)


def test_a_vocabulary_is_not_overwritten_unless_asked(text_file, tmp_path):
    output = tmp_path / "vocab.model"
    output.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        build_vocabulary([str(text_file)], 60, output)
    assert output.read_bytes() == b"precious"
    build_vocabulary([str(text_file)], 60, output, overwrite=True)
    assert Tokenizer(output).vocab_size == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 13}, "`vocab_size` must be above 13.*Received: 13"),
        ({"max_sentences": 0}, "`max_sentences` must be a positive integer. Received: 0"),
        ({"character_coverage": 1.5}, r"in \[0.9, 1\]. Received: 1.5"),
    ],
)
def test_arguments_out_of_range_are_refused_before_any_reading(options, message, tmp_path):
    arguments = {"inputs": "nonsuch", "vocab_size": 60, "output": tmp_path / "v.model", **options}
    with pytest.raises(ValueError, match=message):
        build_vocabulary(**arguments)


def test_missing_input_empty_input_and_missing_folder_are_errors(text_file, tmp_path):
    with pytest.raises(FileNotFoundError, match="nonsuch"):
        build_vocabulary(str(tmp_path / "nonsuch*"), 60, tmp_path / "vocab.model")
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(ValueError, match="without one usable sentence"):
        build_vocabulary(str(tmp_path / "empty.txt"), 60, tmp_path / "vocab.model")
    with pytest.raises(ValueError, match="`output` must lie in a folder that exists"):
        build_vocabulary(str(text_file), 60, tmp_path / "nonsuch" / "vocab.model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "text.txt"]


def run_program(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "albert_tf.pipelines.build_vocabulary", *arguments],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )


@pytest.mark.slow
def test_the_program_writes_a_vocabulary_and_a_closing_summary(text_file, tmp_path):
    output = tmp_path / "vocab.model"
    arguments = [f"--input={text_file}", "--vocab_size=60", f"--output={output}"]
    done = run_program(*arguments)
    assert done.returncode == 0, done.stderr
    assert "60 pieces" in done.stdout and "200 sentences" in done.stdout
    assert Tokenizer(output).vocab_size == 60
    again = run_program(*arguments)
    assert again.returncode == 1
    assert again.stderr.strip().splitlines()[-1] == (
        f"build_vocabulary: --output exists: {output}. Pass --overwrite to replace it."
    )


def test_the_committed_vocabulary_is_what_its_script_makes(tmp_path):
    sys.path.insert(0, str(TESTS / "testdata"))
    try:
        import make_vocabulary
    finally:
        sys.path.pop(0)
    text = tmp_path / "text.txt"
    make_vocabulary.write_text(text)
    build_vocabulary([str(text)], make_vocabulary.VOCAB_SIZE, tmp_path / "vocab.model")
    made, committed = Tokenizer(tmp_path / "vocab.model"), Tokenizer(make_vocabulary.MODEL_FILE)
    assert made.pieces == committed.pieces


def write_thai(tmp_path, sentence_characters):
    words = "ห้องสมุด หนังสือ ประชาชน สถานี นายก เด็ก คอมพิวเตอร์ เมือง".split()
    text = " ".join(words[i * 7 // 3 % len(words)] for i in range(6000))
    lines = [text[i : i + sentence_characters] for i in range(0, len(text), sentence_characters)]
    (tmp_path / "th.txt").write_text("\n".join(lines), encoding="utf-8")
    return sum(len(line.encode()) for line in lines)


@pytest.mark.slow
def test_sentences_beyond_the_trainers_limit_are_cut_and_lose_nothing(tmp_path):
    size = write_thai(tmp_path, sentence_characters=3900)  # some 11,000 bytes each
    summary = build_vocabulary(
        str(tmp_path / "th.txt"), 50, tmp_path / "vocab.model", strip_accents=False
    )
    assert summary.sentences > size / 4192
    assert summary.text_bytes == pytest.approx(size, rel=0.01)
    assert Tokenizer(tmp_path / "vocab.model").unk_id not in Tokenizer(
        tmp_path / "vocab.model"
    ).encode("ห้องสมุด")


@pytest.mark.parametrize(
    "text, strip_accents, warned",
    [
        ("これは子どもたちが学ぶ図書館です。", True, True),
        ("これは子どもたちが学ぶ図書館です。", False, False),
        ("यह पुस्तकालय बच्चों के लिए एक अच्छी जगह है।", True, True),
        ("The library of the town is open, and many people read there.", True, False),
    ],
    ids=["ja", "ja kept", "hi", "en"],
)
def test_lost_marks_are_pointed_out(tmp_path, text, strip_accents, warned):
    filling = [f"{text} The {WORDS[i % 10]} in {1900 + i}.\n" for i in range(200)]
    (tmp_path / "text.txt").write_text("".join(filling), encoding="utf-8")
    lines = []
    build_vocabulary(
        str(tmp_path / "text.txt"),
        70,
        tmp_path / "vocab.model",
        strip_accents=strip_accents,
        report=lines.append,
    )
    assert any("`strip_accents=False` keeps them" in line for line in lines) == warned


def test_a_large_text_says_first_what_memory_its_sample_needs(text_file, tmp_path, monkeypatch):
    lines = []
    build = functools.partial(
        build_vocabulary, [str(text_file)], 60, report=lines.append, max_sentences=2_000_000
    )
    build(tmp_path / "a.model")
    assert not any("of memory" in line for line in lines)
    monkeypatch.setattr(build_vocabulary_module, "_SURELY_SMALL_BYTES", 10)
    build(tmp_path / "b.model")
    (line,) = [line for line in lines if "of memory" in line]
    assert "2,000,000 sentences needs up to 6.6 GB" in line


def test_place_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ValueError, match="`output` must be where files can be written"):
        build_vocabulary("nonsuch", 300, tmp_path / "v.model")
