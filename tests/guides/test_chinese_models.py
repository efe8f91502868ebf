"""A Chinese model, with WordPiece, goes the whole way: masks, data, fine-tuning, export, server."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import word_pieces
from samples import tiny_config

from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.exporting import export
from albert_tf.finetuning import finetune
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.inference import fine_tuned, text_model
from albert_tf.model import language_models
from albert_tf.pipelines.building import build, example_options
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model directory as on the hub: random weights, `hidden_act` relu, `vocab.txt`."""
    folder = tmp_path_factory.mktemp("chinese") / "model"
    vocab_txt = folder.parent / "vocab.txt"
    count = word_pieces.write_vocab_txt(vocab_txt)
    keras.utils.set_random_seed(0)
    config = tiny_config(vocab_size=count, hidden_act="relu")
    language_models.AlbertForPretraining(config).save_pretrained(folder, Tokenizer(vocab_txt))
    return folder


def write_table(path):
    """Two classes, told apart by their words."""
    rows = [(1, f"这部{text}") for text in word_pieces.GOOD]
    rows += [(0, f"这部{text}") for text in word_pieces.BAD]
    lines = ["label\ttext_a", *(f"{label}\t{text}" for label, text in rows * 8)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def classifier(directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned")
    write_table(folder / "train.tsv")
    run = FinetuningRun.of(
        task="classification",
        train_file=str(folder / "train.tsv"),
        dev_file=str(folder / "train.tsv"),
        label_column="label",
        text_column="text_a",
        init_checkpoint=str(directory),
        output_dir=str(folder / "run"),
        max_seq_length=16,
        batch_size=8,
        num_train_epochs=4,
        learning_rate=3e-3,
    )
    with pytest.MonkeyPatch.context() as patched:
        from albert_tf.finetuning import pictures

        patched.setattr(pictures, "_png", lambda picture: b"PNG")
        finetune.finetune(run, report=lambda line: None)
    return folder / "run"


def test_mask_is_filled_with_pieces_of_the_vocabulary(directory):
    fill_mask = text_model.FillMask.from_pretrained(directory)
    answers = fill_mask("巴黎是[MASK]国的首都。", top_k=3)
    assert len(answers) == 3
    for answer in answers:
        piece = fill_mask.tokenizer.pieces[answer["token"]]
        assert answer["token_str"] == piece.removeprefix("##")
        assert answer["sequence"].startswith("巴 黎 是")


@pytest.mark.slow
def test_table_is_learned_and_new_texts_are_classified(classifier):
    assert (classifier / "vocab.txt").is_file() and (classifier / "tokenizer.json").is_file()
    classify = fine_tuned.Classifier.from_pretrained(classifier)
    answers = classify(["这部很好看", "这部太差了"])
    assert [answer["label"] for answer in answers] == ["1", "0"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_check")
def test_export_answers_strings_as_the_model_in_this_process(classifier, tmp_path):
    version = export.export(classifier, tmp_path / "served", report=lambda line: None)
    texts = ["这部很好看", "这部太差了", "Café 北京\u3000😀", ""]
    reloaded = tf.saved_model.load(str(version))
    answers = reloaded.signatures["classify"](tf.constant(texts))
    expected = fine_tuned.Classifier.from_pretrained(classifier)(texts)
    for row, answer in enumerate(expected):
        assert answers["label"].numpy()[row].decode() == answer["label"]
    # A client that sends ids makes them with this file.
    of_client = Tokenizer(version / "assets.extra" / "tokenizer.json")
    assert of_client.encode_batch(texts) == load_tokenizer(classifier).encode_batch(texts)


def test_pretraining_data_is_built_of_chinese_text_with_vocab_txt(directory, tmp_path):
    sentences = [*word_pieces.CHINESE, *(f"这部电影{text}。" for text in word_pieces.GOOD)]
    generator = np.random.default_rng(0)
    documents = ["".join(generator.choice(sentences, 12)) for _ in range(40)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    options = example_options.BuildOptions(
        input=[str(tmp_path / "text.txt")],
        vocab_model=str(directory / "vocab.txt"),
        output_dir=str(tmp_path / "built"),
        max_seq_length=48,
        num_shards=1,
        num_workers=1,
    )
    summary = build.build_examples(options)
    tokenizer = Tokenizer(tmp_path / "built" / "vocab.model")
    assert tokenizer.encode_batch(sentences) == load_tokenizer(directory).encode_batch(sentences)
    assert summary["train"]["examples"] > 10
