"""Every format that albert_tf reads: a small whole specimen, and the public way in.

A `Format` makes its files in a folder and reads them there as a user's call would. Reading raises
ValueError or OSError, with the file in the message, for what it refuses, and nothing else.
"""

import bz2
import collections.abc
import copy as copies
import dataclasses
import gzip
import json
import lzma
import shutil
import tarfile
import unittest.mock

import h5py
import keras
import numpy as np
import pyarrow
import pyarrow.parquet
import tensorflow as tf
import word_pieces
from absl import flags
from backports import zstd
from samples import TESTDATA, VOCABULARY
from test_tokenizer_json import make_tokenizer_json

from albert_tf import command_line, run_pretraining
from albert_tf.checkpoints import tokenizer_files
from albert_tf.checkpoints.published_configs import find_config
from albert_tf.checkpoints.weight_names import LAYOUTS
from albert_tf.config import AlbertConfig
from albert_tf.conversion import checkpoint_archives, convert, sources
from albert_tf.finetuning import results, seed_run
from albert_tf.inference import fine_tuned
from albert_tf.model.language_models import AlbertMaskedLM, AlbertModel
from albert_tf.model.task_models import AlbertClassifier
from albert_tf.pipelines.building import example_options, example_summary
from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pipelines.task_data import (
    chinese_files,
    feature_cache,
    glue,
    race,
    squad,
    tabular,
    tagged_words,
    text_examples,
)
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.pipelines.text import corpus
from albert_tf.pipelines.tokenizer import model_proto
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary
from albert_tf.serving import served_versions
from albert_tf.training import checkpoint_store, metric_log, run_directory

GOLDEN = TESTDATA / "golden"
CORPUS = TESTDATA / "corpus"
TEXTS = ["A fine film, 3.5 hours of it.", "No café was open.", "Why not?", "It rained all day."]


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        kind: of `mutations.KINDS`.
        make: writes a whole specimen into a folder.
        files: of those, what is damaged, one at a time.
        read: reads the folder.
    """

    kind: str
    make: collections.abc.Callable
    files: tuple
    read: collections.abc.Callable


def copy(name, folder):
    shutil.copytree(GOLDEN / name, folder, dirs_exist_ok=True)


def tokenizer():
    return Tokenizer(VOCABULARY)


# --- Model directories -------------------------------------------------------------------------


def golden_model():
    return AlbertMaskedLM.from_pretrained(GOLDEN / "AlbertForMaskedLM")


def read_model(folder):
    AlbertMaskedLM.from_pretrained(folder)


def make_h5(folder):
    copy("AlbertForMaskedLM", folder)
    (folder / "model.safetensors").unlink()
    model, layout = golden_model(), LAYOUTS["transformers_h5"]
    with h5py.File(folder / "tf_model.h5", "w") as file:
        for path, variable in model.weights_by_path().items():
            place = layout.place(path)
            value = place.to_theirs(np.asarray(variable), model.config.num_attention_heads)
            file[f"albert/tf_albert_for_masked_lm/{place.name}:0"] = value


def make_tf1(folder):
    convert.convert(
        GOLDEN / "AlbertForPreTraining", folder / "google", "tf1", report=lambda line: None
    )
    for path in (folder / "google").iterdir():
        shutil.move(path, folder / path.name)
    (folder / "google").rmdir()


def read_tf1(folder):
    source = sources.open_source(folder)
    if source.config is None:
        raise ValueError(f"{folder} has no config")  # as `conversion.convert` does
    convert.build_model(source, "pretraining")


def make_archive(suffix):
    def make(folder):
        make_tf1(folder / "albert_base")
        with tarfile.open(folder / f"albert{suffix}", "w:gz" if "gz" in suffix else "w") as tar:
            tar.add(folder / "albert_base", "albert_base")
        shutil.rmtree(folder / "albert_base")

    return make


def read_archive(folder):
    (archive,) = (path for path in folder.iterdir() if path.name.startswith("albert"))
    checkpoint_archives.unpack_checkpoint(archive, folder / "unpacked")
    read_tf1(folder / "unpacked" / "albert_base")


def make_saved_model(folder):
    model, layout = AlbertModel.from_pretrained(GOLDEN / "AlbertModel"), LAYOUTS["tf1"]
    module = tf.Module()
    module.held = [
        tf.Variable(np.asarray(variable), name=layout.place(path).name)
        for path, variable in model.weights_by_path().items()
    ]
    tf.saved_model.save(module, str(folder))


def read_saved_model(folder):
    convert.build_model(sources.open_source(folder, golden_config()), "none")


def golden_config():
    values = json.loads((GOLDEN / "AlbertForMaskedLM" / "config.json").read_text())
    known = {field.name for field in dataclasses.fields(AlbertConfig)}
    return AlbertConfig.from_dict({k: v for k, v in values.items() if k in known})


def read_keras_hub(folder):
    convert.build_model(sources.open_source(folder), "none")


# --- Model directories with a vocabulary ---------------------------------------------------------


def small_config():
    return dataclasses.replace(golden_config(), vocab_size=tokenizer().vocab_size)


def make_classifier(folder):
    model = AlbertClassifier(small_config(), labels=["bad", "good"])
    model.save_pretrained(folder / "model", tokenizer())
    for path in (folder / "model").iterdir():
        shutil.move(path, folder / path.name)
    (folder / "model").rmdir()
    settings = {"kind": "classification", "task": "classification", "max_seq_length": 12}
    (folder / "task.json").write_text(json.dumps(settings))


def read_classifier(folder):
    fine_tuned.Classifier.from_pretrained(folder)(TEXTS[:2])


def read_vocabulary(folder):
    tokenizer_files.load_tokenizer(folder).encode_batch(TEXTS)


def make_vocabulary(folder):
    shutil.copy(VOCABULARY, folder / "spiece.model")


def make_small_vocabulary(folder):
    """A vocabulary of few pieces, so that damage hits other places than pieces."""
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    del model.pieces[60:]
    model.trainer_spec.vocab_size = len(model.pieces)
    (folder / "spiece.model").write_bytes(model.SerializeToString())


def make_described_vocabulary(folder):
    make_tokenizer_json(folder / "tokenizer.json")


def make_configured_vocabulary(folder):
    make_vocabulary(folder)
    settings = {"do_lower_case": True, "keep_accents": False, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def make_word_pieces(*names):
    def make(folder):
        pieces = word_pieces.make_pieces([*word_pieces.CHINESE, *TEXTS])
        Tokenizer.from_word_pieces(WordPieceVocabulary(pieces)).save(folder / "tokenizer.json")
        word_pieces.write_vocab_txt(folder / "vocab.txt")
        settings = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()

    return make


def read_word_pieces(folder):
    """Ids in Python and with offsets, and the vocabulary saved and read again."""
    tokenizer = tokenizer_files.load_tokenizer(folder)
    ids = tokenizer.encode_batch([*word_pieces.CHINESE, *TEXTS])
    tokenizer.encode_batch_with_offsets(word_pieces.CHINESE)
    tokenizer.decode(ids[0])
    tokenizer.save(folder / "again.model")
    if Tokenizer(folder / "again.model").encode_batch([*word_pieces.CHINESE, *TEXTS]) != ids:
        raise AssertionError("a vocabulary that was saved gives other ids")


# --- Records and runs --------------------------------------------------------------------------


def serialized_records(count=40, length=8, slots=2):
    ids = np.arange(count * length, dtype=np.int32).reshape(count, length) % 40
    return records.serialize_batch(
        {
            "input_ids": ids,
            "input_mask": np.ones_like(ids),
            "segment_ids": np.zeros_like(ids),
            "masked_lm_positions": np.ones((count, slots), np.int32),
            "masked_lm_ids": np.full((count, slots), 7, np.int32),
            "masked_lm_weights": np.ones((count, slots), np.float32),
            "sentence_order_label": np.zeros(count, np.int32),
        }
    )


def make_records(name):
    def make(folder):
        with records.open_record_file(str(folder / name), name.endswith(".gz")) as writer:
            for record in serialized_records():
                writer.write(record)

    return make


def read_records(folder):
    """As training does: what TensorFlow meets on the way is looked for, and named, afterwards."""
    files = [str(path) for path in folder.iterdir()]
    length, slots = record_files.record_sizes(files)
    try:
        for _ in pretraining_dataset(files, 8, length, slots, repeat=False, vocab_size=40):
            pass
    except tf.errors.OpError as error:
        raise ValueError(record_files.locate_corruption(files, length, slots, 40)) from error


def make_json(name, values):
    def make(folder):
        (folder / name).write_text(json.dumps(values))

    return make


RUN = {"config": {"hidden_size": 8}, "settings": {"seed": 1, "rates": [0.1]}, "data": {"a": "b"}}
MANIFEST = {
    "format": 1,
    "flags": {"seed": 1, "ngram": 3},
    "vocab_fingerprint": "abc",
    "input_files": [["a.txt", 17]],
}
SUMMARY = {"record_files": {"train": ["t-0"], "held_out": []}, "vocab_fingerprint": "abc"}
RESULT = {
    "best_step": 20,
    "best": {"dev": {"accuracy": 0.5}},
    "last": {"dev": {"accuracy": 0.4}},
    "predicted": ["dev"],
}
DIAGNOSIS = {"dev": {"errors": [], "confusion": {"labels": ["a"], "counts": [[1]]}}}


def make_metrics(folder):
    rows = [{"step": s, "split": t, "loss": 0.5} for s in (10, 20, 30) for t in ("train", "dev")]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def training_store(folder):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(model.trainable_variables)
    return checkpoint_store.CheckpointStore(
        folder, model=model, optimizer=optimizer, keep=1, save_files=lambda folder: None
    )


def make_training_state(folder):
    training_store(folder).save(7, {"seconds": 1.5})


def read_training_state(folder):
    training_store(folder).restore_latest()


def encode_cached(folder):
    examples = [TextExample(str(i), text, label="a") for i, text in enumerate(TEXTS)]
    encoded = feature_cache.encode_cached(
        folder, text_examples.encode_texts, examples, tokenizer(), max_seq_length=12, labels=["a"]
    )
    encoded.batch(np.arange(len(encoded)), int(encoded.lengths().max()))


def make_cache(folder):
    encode_cached(folder)
    (cached,) = folder.iterdir()
    # Whatever key the examples have, the damage is done under this name.
    (folder / "KEY").write_text(cached.name)
    cached.rename(folder / "cache.safetensors")


def read_cache(folder):
    shutil.move(folder / "cache.safetensors", folder / (folder / "KEY").read_text())
    encode_cached(folder)


# --- Tables and tasks --------------------------------------------------------------------------


def write_packed(path, text):
    packers = {".gz": gzip, ".bz2": bz2, ".xz": lzma, ".zst": zstd}
    content = text.encode("utf-8")
    if path.suffix in packers:
        content = packers[path.suffix].compress(content)
    path.write_bytes(content)


def make_table(name, separator=","):
    def make(folder):
        rows = [["text", "label"]] + [[f"{text} {i}", "good"] for i, text in enumerate(TEXTS * 5)]
        if separator == ",":
            rows = [[f'"{cell}"' for cell in row] for row in rows]
        write_packed(folder / name, "".join(separator.join(row) + "\n" for row in rows))

    return make


def make_json_table(folder):
    rows = [{"text": f"{text} {i}", "label": "good"} for i, text in enumerate(TEXTS * 5)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_parquet(folder):
    table = pyarrow.table({"text": TEXTS * 5, "label": ["good", "bad"] * 10})
    pyarrow.parquet.write_table(table, folder / "rows.parquet")


def leniently_then_strictly(read):
    """Returns a reader that skips rows that cannot be used, then stops at the first of them."""

    def read_twice(folder):
        for skip in (True, False):
            read(folder, InputProblems(skip=skip))

    return read_twice


@leniently_then_strictly
def read_table(folder, problems):
    (path,) = folder.iterdir()
    columns = tabular.Columns("text", label="label")
    examples = tabular.read(path, columns, problems, kind="class")
    labels = text_examples.discover_labels(examples)
    text_examples.encode_texts(examples, tokenizer(), 16, labels)


def make_glue(folder):
    rows = ["sentence\tlabel", *(f"{text}\t{i % 2}" for i, text in enumerate(TEXTS * 5))]
    (folder / "train.tsv").write_text("\n".join(rows) + "\n")


@leniently_then_strictly
def read_glue(folder, problems):
    examples = glue.read("sst2", folder, "train", problems)
    text_examples.encode_texts(examples, tokenizer(), 16, ("0", "1"))


def make_squad(folder):
    context = "Ada wrote the first program in 1843. It was a long note, and few read it."
    entries = [
        {
            "id": f"q{i}",
            "question": f"Who wrote {i}?",
            "answers": [{"text": "Ada", "answer_start": 0}],
            "is_impossible": False,
        }
        for i in range(4)
    ]
    paragraphs = [{"context": context, "qas": entries}]
    values = {"version": "v2.0", "data": [{"title": "Ada", "paragraphs": paragraphs}]}
    (folder / "train.json").write_text(json.dumps(values))


@leniently_then_strictly
def read_squad(folder, problems):
    questions = squad.read(folder / "train.json", problems)
    squad.encode(questions, tokenizer(), 48, 16, 16)


def make_reviews(folder):
    rows = [f"{i % 2}\t{text}" for i, text in enumerate(word_pieces.CHINESE * 5)]
    (folder / "train.tsv").write_text("\n".join(["label\ttext_a", *rows]), encoding="utf-8")


@leniently_then_strictly
def read_reviews(folder, problems):
    chinese_files.read_table("chnsenticorp", folder / "train.tsv", problems)


def make_cmrc(folder):
    entries = [
        {"query_id": f"q{i}", "query_text": "谁？", "answers": ["Ada", "程序"]} for i in range(4)
    ]
    article = {"context_id": "0", "context_text": "Ada 写了第一个程序。", "title": "Ada"}
    values = {"version": "v1.0", "data": [{**article, "qas": entries}]}
    (folder / "train.json").write_text(json.dumps(values), encoding="utf-8")


@leniently_then_strictly
def read_cmrc(folder, problems):
    chinese_files.read_cmrc(folder / "train.json", problems)


def make_race(name):
    def make(folder):
        passage = {
            "article": "Tom lives in a small house. He has a dog.",
            "questions": ["Tom has a _ .", "Who?"],
            "options": [["dog", "cat", "house", "car"]] * 2,
            "answers": ["A", "B"],
        }
        path = folder / "train" / "middle" / name
        path.parent.mkdir(parents=True)
        path.write_text((json.dumps(passage) + "\n") * (3 if name == "all.txt" else 1))

    return make


@leniently_then_strictly
def read_race(folder, problems):
    questions = race.read(folder, "train", ("middle",), problems)
    race.encode(questions, tokenizer(), 64, 16)


def make_tagged(folder):
    sentences = ["The\tO\ncat\tB-A\nsat\tO\n.\tO\n"] * 5
    (folder / "train.tsv").write_text("\n".join(sentences))


@leniently_then_strictly
def read_tagged(folder, problems):
    sentences = tagged_words.read(folder / "train.tsv", problems)
    tags = tagged_words.discover_tags(sentences)
    tagged_words.encode(sentences, tokenizer(), 16, tags)


# --- Text --------------------------------------------------------------------------------------


def make_text(source, name=None):
    def make(folder):
        write_packed(folder / (name or source), (CORPUS / source).read_text(encoding="utf-8"))

    return make


def make_parquet_text(folder):
    articles = [f"{text} It went on.\n\nAnd {i} on." for i, text in enumerate(TEXTS * 50)]
    table = pyarrow.table({"id": [str(i) for i in range(len(articles))], "text": articles})
    pyarrow.parquet.write_table(table, folder / "articles.parquet", compression="zstd")


def read_text(folder):
    """What cannot be used is reported with the file's name; a file without any use is refused."""
    report = corpus.SkippedInput()
    (path,) = folder.iterdir()
    for number, document in enumerate(corpus.read_documents(str(path), report)):
        if number < 10:
            tokenizer().encode_batch(document.sentences[:100])
    for entry in report.entries:
        if str(path) not in entry["file"]:
            raise KeyError(f"an entry without its file: {entry}")


# --- Flag files --------------------------------------------------------------------------------


def make_flags(folder):
    lines = (
        *("# A run of a few steps.", "", "--config=albert_mini", "--input=a.tfrecord,b.tfrecord"),
        *("--output_dir=runs/mini", "--learning_rate=1e-3", "--train_steps=200"),
        *("--init_optimizer", "--nojit_compile", "--precision=float32", "--batch_size", "8"),
    )
    (folder / "run.flags").write_text("\n".join(lines) + "\n")


def read_flags(folder):
    # What one file sets is not there when the next is read.
    with unittest.mock.patch.object(flags, "FLAGS", copies.deepcopy(run_pretraining.FLAGS)):
        try:
            command_line._read_flags(["run_pretraining", f"--flagfile={folder / 'run.flags'}"])
        except SystemExit as end:
            if end.code:  # the sentence that the command ends with
                raise ValueError(end.code) from end


# --- Exported models ---------------------------------------------------------------------------


def make_export(folder):
    module = tf.Module()
    module.weight = tf.Variable([[1.0, 2.0]], name="weight")
    module.answer = tf.function(
        lambda x: {"y": tf.matmul(x, module.weight)},
        input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")],
    )
    tf.saved_model.save(module, str(folder / "1"), {"serving_default": module.answer})
    sheet = {"signatures": {"serving_default": {"request": {"instances": [[1.0]]}}}}
    (folder / "1" / "signatures.json").write_text(json.dumps(sheet))


def read_export(folder):
    versions = served_versions.ServedVersions(folder)
    try:
        versions.start()
    except served_versions.VersionError as error:  # which the command catches, too
        raise ValueError(str(error)) from error
    versions.stop()


INDEX, DATA = "model.ckpt-best.index", "model.ckpt-best.data-00000-of-00001"
FORMATS = {
    "safetensors": Format(
        "bytes", lambda f: copy("AlbertForMaskedLM", f), ("model.safetensors",), read_model
    ),
    "safetensors shards": Format(
        "bytes",
        lambda f: copy("sharded", f),
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        read_model,
    ),
    "safetensors index": Format(
        "json", lambda f: copy("sharded", f), ("model.safetensors.index.json",), read_model
    ),
    "PyTorch zip": Format("zip", lambda f: copy("zip", f), ("pytorch_model.bin",), read_model),
    "PyTorch legacy": Format(
        "bytes", lambda f: copy("legacy", f), ("pytorch_model.bin",), read_model
    ),
    "HDF5 of transformers": Format("bytes", make_h5, ("tf_model.h5",), read_model),
    "HDF5 of KerasHub": Format(
        "bytes", lambda f: copy("keras_hub", f), ("model.weights.h5",), read_keras_hub
    ),
    "config of KerasHub": Format(
        "json", lambda f: copy("keras_hub", f), ("config.json",), read_keras_hub
    ),
    "TF1 index": Format("bytes", make_tf1, (INDEX,), read_tf1),
    "TF1 data": Format("bytes", make_tf1, (DATA,), read_tf1),
    "TF1 state": Format("text", make_tf1, ("checkpoint",), read_tf1),
    "TF1 config": Format("json", make_tf1, ("albert_config.json",), read_tf1),
    "tar": Format("bytes", make_archive(".tar"), ("albert.tar",), read_archive),
    "tar.gz": Format("bytes", make_archive(".tar.gz"), ("albert.tar.gz",), read_archive),
    "SavedModel to convert": Format(
        "bytes",
        make_saved_model,
        ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"),
        read_saved_model,
    ),
    "SavedModel to serve": Format(
        "bytes",
        make_export,
        (
            "1/saved_model.pb",
            "1/variables/variables.index",
            "1/variables/variables.data-00000-of-00001",
        ),
        read_export,
    ),
    "sheet of signatures": Format("json", make_export, ("1/signatures.json",), read_export),
    "config.json": Format(
        "json", lambda f: copy("AlbertForMaskedLM", f), ("config.json",), read_model
    ),
    "config.json of a classifier": Format(
        "json", make_classifier, ("config.json",), read_classifier
    ),
    "--config": Format(
        "json",
        lambda f: (f / "own.json").write_text(golden_config().to_json_string()),
        ("own.json",),
        lambda f: find_config(str(f / "own.json")),
    ),
    "task.json": Format("json", make_classifier, ("task.json",), read_classifier),
    "tokenizer_config.json": Format(
        "json", make_configured_vocabulary, ("tokenizer_config.json",), read_vocabulary
    ),
    "tokenizer.json": Format(
        "json", make_described_vocabulary, ("tokenizer.json",), read_vocabulary
    ),
    "spiece.model": Format("vocabulary", make_vocabulary, ("spiece.model",), read_vocabulary),
    "small spiece.model": Format(
        "vocabulary", make_small_vocabulary, ("spiece.model",), read_vocabulary
    ),
    "vocab.txt": Format("text", make_word_pieces("vocab.txt"), ("vocab.txt",), read_word_pieces),
    "vocab.txt, its options": Format(
        "json",
        make_word_pieces("vocab.txt", "tokenizer_config.json"),
        ("tokenizer_config.json",),
        read_word_pieces,
    ),
    "tokenizer.json of BERT": Format(
        "json", make_word_pieces("tokenizer.json"), ("tokenizer.json",), read_word_pieces
    ),
    "TFRecord": Format("bytes", make_records("a.tfrecord"), ("a.tfrecord",), read_records),
    "TFRecord, gzip": Format(
        "bytes", make_records("a.tfrecord.gz"), ("a.tfrecord.gz",), read_records
    ),
    "TFRecord, its examples": Format(
        "records", make_records("a.tfrecord"), ("a.tfrecord",), read_records
    ),
    "run.json": Format(
        "json",
        make_json("run.json", RUN),
        ("run.json",),
        lambda f: run_directory.claim(f, RUN, has_work=True),
    ),
    "manifest.json": Format(
        "json",
        make_json("manifest.json", MANIFEST),
        ("manifest.json",),
        lambda f: example_options.claim_directory(str(f), MANIFEST),
    ),
    "summary.json": Format(
        "json",
        make_json("summary.json", SUMMARY),
        ("summary.json",),
        lambda f: example_summary.read_finished_summary(str(f)),
    ),
    "result.json": Format(
        "json",
        make_json("result.json", RESULT),
        ("result.json",),
        lambda f: seed_run.read_outcome(f / "result.json"),
    ),
    "diagnosis.json": Format(
        "json",
        make_json("diagnosis.json", DIAGNOSIS),
        ("diagnosis.json",),
        lambda f: results.keep_diagnosis(f, "test", {"errors": []}),
    ),
    "metrics.jsonl": Format(
        "json lines",
        make_metrics,
        ("metrics.jsonl",),
        lambda f: metric_log.read_metrics(f / "metrics.jsonl"),
    ),
    "training state": Format(
        "bytes",
        make_training_state,
        ("step-00000007/training_state.safetensors",),
        read_training_state,
    ),
    "feature cache": Format("bytes", make_cache, ("cache.safetensors",), read_cache),
    "CSV": Format("text", make_table("rows.csv"), ("rows.csv",), read_table),
    "CSV, gzip": Format("compressed", make_table("rows.csv.gz"), ("rows.csv.gz",), read_table),
    "TSV": Format("text", make_table("rows.tsv", "\t"), ("rows.tsv",), read_table),
    "TSV, gzip": Format(
        "compressed", make_table("rows.tsv.gz", "\t"), ("rows.tsv.gz",), read_table
    ),
    "JSON lines": Format("json lines", make_json_table, ("rows.jsonl",), read_table),
    "Parquet": Format("bytes", make_parquet, ("rows.parquet",), read_table),
    "GLUE": Format("text", make_glue, ("train.tsv",), read_glue),
    "SQuAD": Format("json", make_squad, ("train.json",), read_squad),
    "Chinese table": Format("text", make_reviews, ("train.tsv",), read_reviews),
    "CMRC 2018, flat": Format("json", make_cmrc, ("train.json",), read_cmrc),
    "RACE passage": Format(
        "json", make_race("1.txt"), ("train/middle/1.txt",), read_race
    ),
    "RACE, joined": Format(
        "json lines", make_race("all.txt"), ("train/middle/all.txt",), read_race
    ),
    "tagged words": Format("text", make_tagged, ("train.tsv",), read_tagged),
    "text, sentences": Format(
        "text", make_text("sentences.txt"), ("sentences.txt",), read_text
    ),
    "text, wrapped book": Format(
        "text", make_text("wrapped_book.txt"), ("wrapped_book.txt",), read_text
    ),
    "text, wiki": Format("text", make_text("wiki_00"), ("wiki_00",), read_text),
    "text, JSON lines": Format(
        "json lines", make_text("records.jsonl"), ("records.jsonl",), read_text
    ),
    "text, gzip": Format(
        "compressed", make_text("sentences.txt", "a.txt.gz"), ("a.txt.gz",), read_text
    ),
    "text, bzip2": Format(
        "compressed", make_text("sentences.txt", "a.txt.bz2"), ("a.txt.bz2",), read_text
    ),
    "text, xz": Format(
        "compressed", make_text("sentences.txt", "a.txt.xz"), ("a.txt.xz",), read_text
    ),
    "text, Zstandard": Format(
        "compressed", make_text("sentences.txt", "a.txt.zst"), ("a.txt.zst",), read_text
    ),
    "text, MediaWiki dump": Format("text", make_text("dump_en.xml"), ("dump_en.xml",), read_text),
    "text, MediaWiki dump, bzip2": Format(
        "compressed", make_text("dump_en.xml", "dump_en.xml.bz2"), ("dump_en.xml.bz2",), read_text
    ),
    "text, Parquet": Format(
        "bytes", make_parquet_text, ("articles.parquet",), read_text
    ),
    "flag file": Format("flags", make_flags, ("run.flags",), read_flags),
}  # fmt: skip
