"""A Chinese model, with WordPiece, goes the whole way: masks, data, fine-tuning, export, server."""

import functools
import json
import socket
import threading
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
import word_pieces
from samples import tiny_config

from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.exporting import export
from albert_tf.finetuning import finetune, pictures
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.inference import fine_tuned, text_model
from albert_tf.model import language_models
from albert_tf.pipelines.building import build, example_options
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.serving.http_server import Server
from albert_tf.serving.model_server import Metrics, ModelServer
from albert_tf.serving.served_versions import ServedVersions
from albert_tf.serving.settings import ConnectionSettings, ServerSettings
from albert_tf.tasks import cmrc_metrics


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


CONTEXT = "《巴黎》由ＡＢＣ公司在2008年出版，Café Müller 的😀很好。"
QUESTIONS = [("谁出版？", "ＡＢＣ公司"), ("哪年？", "2008年"), ("谁的？", "Café Müller")]


def write_reviews(folder):
    """Two classes, told apart by their words."""
    rows = [(1, f"这部{text}") for text in word_pieces.GOOD]
    rows += [(0, f"这部{text}") for text in word_pieces.BAD]
    write_splits(folder, ["label\ttext_a", *(f"{label}\t{text}" for label, text in rows * 8)])


def write_pairs(folder):
    """Texts of one group ask the same."""
    good, bad = word_pieces.GOOD, word_pieces.BAD
    rows = [(a, b, int(a in good)) for a in good + bad for b in good]
    write_splits(folder, ["text_a\ttext_b\tlabel", *(f"{a}\t{b}\t{n}" for a, b, n in rows)])


def write_splits(folder, lines):
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_cmrc(folder):
    """The flat layout to train on, SQuAD's to score, with an answer that is a part of another."""
    flat = {
        "context_id": "0",
        "context_text": CONTEXT,
        "qas": [
            {"query_id": str(number), "query_text": question, "answers": [answer]}
            for number, (question, answer) in enumerate(QUESTIONS)
        ],
        "title": "巴黎",
    }
    nested = [
        {
            "id": str(number),
            "question": question,
            "answers": [
                {"text": text, "answer_start": CONTEXT.index(text)}
                for text in (answer, answer[:-1])
            ],
        }
        for number, (question, answer) in enumerate(QUESTIONS)
    ]
    paragraphs = [{"context": CONTEXT, "qas": nested}]
    values = {"data": [{"title": "巴黎", "paragraphs": paragraphs}]}
    (folder / "cmrc2018_train.json").write_text(json.dumps([flat]), encoding="utf-8")
    (folder / "cmrc2018_dev.json").write_text(json.dumps(values), encoding="utf-8")


WRITERS = {"chnsenticorp": write_reviews, "lcqmc": write_pairs, "cmrc2018": write_cmrc}
# What random weights need to learn so little.
CHANGES = {
    "chnsenticorp": {"max_seq_length": 16, "batch_size": 8, "num_train_epochs": 4},
    "lcqmc": {"max_seq_length": 24, "batch_size": 10, "num_train_epochs": 20},
    "cmrc2018": {
        **{"max_seq_length": 32, "max_query_length": 8, "doc_stride": 6},
        **{"batch_size": 3, "train_steps": 150, "eval_steps": 75},
    },
}


@pytest.fixture(scope="module")
def fine_tuned_on(directory, tmp_path_factory):
    """A function: task -> the folder of its run from made files, and its scores."""

    @functools.cache
    def run_once(task):
        folder = tmp_path_factory.mktemp(task)
        WRITERS[task](folder)
        run = FinetuningRun.of(
            task=task,
            data_dir=str(folder),
            init_checkpoint=str(directory),
            output_dir=str(folder / "run"),
            learning_rate=3e-3,
            **CHANGES[task],
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pictures, "_png", lambda picture: b"PNG")
            results = finetune.finetune(run, report=lambda line: None)
        return folder / "run", results["summary"]["dev"]

    return run_once


@pytest.fixture(scope="module")
def classifier(fine_tuned_on):
    return fine_tuned_on("chnsenticorp")[0]


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


@pytest.mark.slow
def test_pairs_are_learned_by_the_name_of_their_task(fine_tuned_on):
    folder, scores = fine_tuned_on("lcqmc")
    assert scores["accuracy"]["mean"] > 0.9 and set(scores) >= {"accuracy", "f1"}
    classify = fine_tuned.Classifier.from_pretrained(folder)
    answers = classify([("很好看", "真好"), ("太差了", "真好")])
    assert [answer["label"] for answer in answers] == ["1", "0"]
    assert 'language:\n  - "zh"\n' in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_check")
def test_answers_of_process_export_and_server_are_the_same_slices(fine_tuned_on, tmp_path):
    folder, scores = fine_tuned_on("cmrc2018")
    assert {"exact_match", "f1", "average"} <= set(scores)
    said = json.loads((folder / "seed-0/predictions/dev/predictions.json").read_text("utf-8"))
    gold = {str(number): [answer, answer[:-1]] for number, (_, answer) in enumerate(QUESTIONS)}
    expected = cmrc_metrics.evaluate(said, gold)
    assert {name: scores[name]["mean"] for name in expected} == pytest.approx(expected)
    assert scores["f1"]["mean"] > 60
    others = [
        "😀" * 9 + "Café",
        "cafe\u0301 北京\u3000大学。" * 9,
        "２００８年ＡＢＣ",
        " 北京 ",
        "巴",
    ]
    asked = [(question, CONTEXT) for question, _ in QUESTIONS]
    asked += [("谁？", text) for text in others]
    answers = fine_tuned.Answerer.from_pretrained(folder)(asked)
    for (_, context), answer in zip(asked, answers, strict=True):
        assert answer["answer"] and context[answer["start"] : answer["end"]] == answer["answer"]
    version = export.export(folder, tmp_path / "served", report=lambda line: None)
    served = tf.saved_model.load(str(version)).signatures["answer"]
    questions, contexts = map(list, zip(*asked, strict=True))
    exported = served(question=tf.constant(questions), context=tf.constant(contexts))
    over_http = ask_server(tmp_path / "served", questions, contexts)
    for row, answer in enumerate(answers):
        found = {name: exported[name].numpy()[row] for name in ("answer", "start", "end")}
        found["answer"] = found["answer"].decode()
        assert (
            found
            == {name: answer[name] for name in found}
            == {name: over_http[row][name] for name in found}
        )


def ask_server(folder, questions, contexts):
    """Returns what the server says of questions about contexts."""
    versions = ServedVersions(folder, 60.0, lambda event: None)
    versions.start()
    app = ModelServer(versions, ServerSettings(model_name="zh"), Metrics()).make_app()
    server = Server(app, ConnectionSettings())
    rows = [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]
    body = json.dumps({"signature_name": "answer", "instances": rows}).encode()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/models/zh:predict"
            with urllib.request.urlopen(url, body, timeout=60) as answer:
                return json.load(answer)["predictions"]
        finally:
            server.should_exit = True
            thread.join()


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
