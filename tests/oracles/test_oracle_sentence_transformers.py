"""A directory that sentence-transformers made gives the same vectors there and here."""

import json
import shutil

import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf import Features
from albert_tf.checkpoints import sentence_files
from albert_tf.finetuning import finetune
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.tasks.options import TaskOptions

torch = pytest.importorskip("torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")

pytestmark = [
    pytest.mark.oracle,
    # What these warn about is theirs.
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
    pytest.mark.filterwarnings("ignore:::sentence_transformers"),
]

WORDS = (
    "the girl came down river house cat slept 12.5 Émile naïve Straße ... !? Привет мир 東京 "
    "日本語 मैं घर مرحبا שלום 안녕 ไทย 🙂 👩‍🚀 cafe\u0301 ﬁne Ⅳ e\u0308 don't U.S.A. (quoted) "
    "“so” – €"
).split()


def make_texts(count=500, seed=0):
    """Returns texts of no word to a hundred, of one script and of several."""
    generator = np.random.default_rng(seed)
    lengths = np.r_[0, 1, 100, generator.geometric(0.08, count - 3).clip(0, 100)]
    return [" ".join(generator.choice(WORDS, length)) for length in lengths]


def keep_special_tokens_alone(folder):
    """Gives `tokenizer.json` the form of published models.

    transformers 5 makes special tokens of punctuation, too, where it converts a `spiece.model`: for
    SentencePiece these are pieces that stand as they are.
    """
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    tokens = [token for token in values["added_tokens"] if token["content"][0] in "[<"]
    path.write_text(json.dumps({**values, "added_tokens": tokens}))
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    values.pop("extra_special_tokens")
    path.write_text(json.dumps(values))


@pytest.fixture(scope="module")
def make_theirs(tmp_path_factory):
    """Returns a function: pooling, whether to normalize -> (their model, its directory)."""
    from sentence_transformers.sentence_transformer import modules

    source = tmp_path_factory.mktemp("albert")
    torch.manual_seed(0)
    config = transformers.AlbertConfig(
        vocab_size=340,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    transformers.AlbertModel(config).save_pretrained(source)
    shutil.copyfile(VOCABULARY, source / "spiece.model")
    transformers.AlbertTokenizer.from_pretrained(source).save_pretrained(source)
    (source / "spiece.model").unlink()
    keep_special_tokens_alone(source)

    def make(pooling, normalize):
        steps = [modules.Transformer(str(source), max_seq_length=48), modules.Pooling(32, pooling)]
        steps += [modules.Normalize()] if normalize else []
        theirs = sentence_transformers.SentenceTransformer(modules=steps, device="cpu")
        directory = tmp_path_factory.mktemp(pooling) / "st"
        theirs.save(str(directory))
        return theirs, directory

    return make


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False), ("max", True)])
def test_500_texts_have_the_same_vectors(make_theirs, pooling, normalize):
    theirs, directory = make_theirs(pooling, normalize)
    texts = make_texts()
    ours = Features.from_pretrained(directory)
    assert (ours.pooling, ours.normalize, ours.max_seq_length) == (pooling, normalize, 48)
    expected, vectors = theirs.encode(texts), ours.embed(texts)
    worst = np.abs(vectors - expected).max()
    print(f"{pooling}, normalize={normalize}: {len(texts)} texts, worst difference {worst:.1e}")
    assert len(np.unique(vectors.round(5), axis=0)) > 450  # texts are told apart
    assert worst < (2e-6 if normalize else 2e-5)
    np.testing.assert_allclose(
        ours.similarity(texts[:9], texts), theirs.similarity(expected[:9], expected), atol=1e-5
    )


def test_the_layout_of_versions_before_5_gives_the_same_vectors(make_theirs, tmp_path):
    theirs, new = make_theirs("mean", False)
    (tmp_path / "1_Pooling").mkdir()
    shutil.copytree(new, tmp_path / "0_Transformer")
    for name in ("modules.json", "1_Pooling", "config_sentence_transformers.json"):
        path = tmp_path / "0_Transformer" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    settings = sentence_files.SentenceSettings(pooling="mean", max_seq_length=48)
    sentence_files.write(tmp_path, settings, hidden_size=32)
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    name = "sentence_bert_config.json"
    (tmp_path / name).replace(tmp_path / "0_Transformer" / name)
    texts = make_texts(60, seed=1)
    again = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    np.testing.assert_allclose(again, theirs.encode(texts), atol=1e-6)
    np.testing.assert_allclose(Features.from_pretrained(tmp_path).embed(texts), again, atol=2e-5)


def test_a_model_that_was_trained_here_opens_there(tmp_path, make_theirs):
    _, source = make_theirs("mean", False)
    rows = [f"the {word} {n}\ta {word}\n" for n, word in enumerate(WORDS[:12])]
    (tmp_path / "pairs.tsv").write_text("a\tb\n" + "".join(rows), encoding="utf-8")
    run = FinetuningRun.of(
        task="embedding",
        options=TaskOptions(
            train_file=str(tmp_path / "pairs.tsv"),
            text_column="a",
            text_b_column="b",
            dev_fraction=0,
            max_seq_length=24,
        ),
        output_dir=str(tmp_path / "out"),
        init_checkpoint=str(source),
        train_steps=3,
        batch_size=4,
        learning_rate=1e-3,
    )
    finetune.finetune(run, report=lambda line: None)
    directory = tmp_path / "out"
    # Theirs converts the vocabulary otherwise, see above.
    shutil.copy(source / "tokenizer.json", directory)
    shutil.copy(source / "tokenizer_config.json", directory)
    (directory / "spiece.model").unlink()
    theirs = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    texts = make_texts(60, seed=2)
    ours = Features.from_pretrained(directory)
    # As the model that it started from has it.
    assert (ours.normalize, ours.max_seq_length, theirs.max_seq_length) == (False, 24, 24)
    np.testing.assert_allclose(ours.embed(texts), theirs.encode(texts), atol=2e-6)
