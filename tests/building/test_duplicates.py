"""Builds that drop duplicates: what goes, what stays, how it is counted, and the same bytes."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf.pipelines.building import build, example_summary, tokenized_corpus
from albert_tf.pipelines.building.example_options import BuildOptions
from albert_tf.pipelines.examples.token_files import TokenFolder
from albert_tf.pipelines.text import layouts
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

SYLLABLES = [first + second for first in "bdfklmnprst" for second in "aeiou"]
GENERATOR = np.random.default_rng(0)
WORDS = ["".join(GENERATOR.choice(SYLLABLES, GENERATOR.integers(1, 4))) for _ in range(300)]


def make_document(rng, words=WORDS):
    return [" ".join(rng.choice(words, 12)) + "." for _ in range(10)]


def change_words(document, rng):
    """Changes one word in twenty: 6 of 120."""
    words = " ".join(document).split()
    for place in rng.choice(120 // 12, 6, replace=False) * 12 + rng.integers(0, 11, 6):
        words[place] = rng.choice(WORDS)
    return [" ".join(words[begin : begin + 12]) for begin in range(0, 120, 12)]


def write(path, documents):
    path.write_text("\n\n".join("\n".join(document) for document in documents) + "\n")


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(1)
    return [make_document(rng) for _ in range(60)]


@pytest.fixture(scope="module")
def options(documents, tmp_path_factory):
    """A build of 60 documents, 20 copies of them and 20 near copies, each in a file of its own."""
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(2)
    write(folder / "a.txt", documents)
    write(folder / "b.txt", documents[20:40])
    write(folder / "c.txt", [change_words(document, rng) for document in documents[40:]])
    return BuildOptions(
        input=(f"{folder}/*.txt",),
        vocab_model=str(VOCABULARY),
        output_dir="",
        format="tokens",
        layout="sentences",
        num_shards=3,
        num_workers=1,
        held_out_fraction=0.2,
    )


@pytest.fixture(scope="module")
def only_once(options, documents, tmp_path_factory):
    """Returns the folder of a build of the 60 documents alone."""
    text = tmp_path_factory.mktemp("once")
    write(text / "a.txt", documents)
    folder = tmp_path_factory.mktemp("built")
    run(dataclasses.replace(options, input=(f"{text}/a.txt",)), folder)
    return folder


@pytest.fixture
def small_groups(monkeypatch):
    """Makes every file a group of its own, as large ones are."""
    monkeypatch.setattr(tokenized_corpus, "_GROUP_BYTES", 1)


def run(options, folder, drop="none", **changes):
    changes |= {"output_dir": str(folder), "drop_duplicates": drop}
    return build.build_examples(dataclasses.replace(options, **changes))


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def read_documents(folder, kind):
    """Returns the set of the texts of stored documents."""
    tokenizer = Tokenizer(str(VOCABULARY))
    texts = []
    for shard in TokenFolder(folder).shards(kind):
        begin = 0
        for end in shard.sentences[np.asarray(shard.documents) - 1].tolist():
            texts.append(tokenizer.decode(shard.ids[begin:end].tolist()))
            begin = end
    assert len(set(texts)) == len(texts)
    return set(texts)


def test_exact_copies_are_dropped_and_counted(options, tmp_path, small_groups):
    summary = run(options, tmp_path, "exact")
    assert summary["documents"] == 80 and summary["input"]["documents"] == 100
    assert summary["input"]["skipped"] == {"exact duplicate": 20}
    facts = summary["duplicates"]["exact duplicate"]
    assert facts["documents"] == len(facts["examples"]) == 20
    assert facts["token_share"] == pytest.approx(0.2, abs=0.02)
    assert facts["tokens"] == pytest.approx(summary["tokens"] / 4, rel=0.1)
    # Documents have ten lines and a blank one.
    for number, example in enumerate(facts["examples"]):
        assert example["dropped"].endswith(f"b.txt:{11 * number + 1}")
        assert example["kept"].endswith(f"a.txt:{11 * (number + 20) + 1}")
    assert example_summary.describe(summary).endswith("; exact duplicate: 20 dropped")
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_places_in_a_huge_file_are_those_of_its_parts(options, documents, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "PART_BYTES", 5000)
    path = tmp_path / "text.txt"
    write(path, [*documents, documents[30]])
    summary = run(options, tmp_path / "out", "near", input=(str(path),))
    assert summary["documents"] == 60
    (example,) = summary["duplicates"]["exact duplicate"]["examples"]
    for place in example.values():
        begin, line = re.fullmatch(r".*:(\d+) from byte (\d+)", place).group(2, 1)
        lines = path.read_bytes()[int(begin) :].decode().splitlines()
        assert lines[int(line) - 1] == documents[30][0]


def test_near_copies_are_dropped_and_the_first_stay(options, only_once, tmp_path, small_groups):
    summary = run(options, tmp_path, "near")
    assert {reason: facts["documents"] for reason, facts in summary["duplicates"].items()} == {
        "exact duplicate": 20,
        "near duplicate": 20,
    }
    for number, example in enumerate(summary["duplicates"]["near duplicate"]["examples"]):
        assert example["dropped"].endswith(f"c.txt:{11 * number + 1}")
        assert example["kept"].endswith(f"a.txt:{11 * (number + 40) + 1}")
    for kind in ("train", "held_out"):
        assert read_documents(tmp_path, kind) == read_documents(only_once, kind)
    line = example_summary.describe(summary)
    assert line.endswith("; exact duplicate: 20 dropped; near duplicate: 20 dropped")


def test_near_copies_of_held_out_documents_are_not_trained_on(options, only_once, tmp_path):
    held_out = read_documents(only_once, "held_out")
    assert len(held_out) > 5
    words = [set(zip(*(text.split()[n:] for n in range(3)), strict=False)) for text in held_out]

    def count_known(folder):
        """Counts training documents that share half of their runs with a held-out one."""
        known = 0
        for text in read_documents(folder, "train"):
            runs = set(zip(*(text.split()[n:] for n in range(3)), strict=False))
            known += any(len(runs & other) > len(runs) / 2 for other in words)
        return known

    run(options, tmp_path / "exact", "exact")
    run(options, tmp_path / "near", "near")
    assert count_known(tmp_path / "exact") > 0
    assert count_known(tmp_path / "near") == 0


def test_documents_on_one_subject_stay(options, tmp_path):
    rng = np.random.default_rng(4)
    few_words = WORDS[:25]
    write(tmp_path / "text.txt", [make_document(rng, few_words) for _ in range(50)])
    summary = run(options, tmp_path / "out", "near", input=(str(tmp_path / "text.txt"),))
    assert summary["documents"] == 50
    assert summary["duplicates"]["near duplicate"]["documents"] == 0


def test_tasks_leave_the_bytes_of_one_build(options, tmp_path, small_groups):
    expected = run(options, tmp_path / "one", "near")
    for task in (1, 0, 0, 1):
        assert run(options, tmp_path / "tasks", "near", task_index=task, num_tasks=2) is None
    assert run(options, tmp_path / "tasks", "near") == expected
    assert read(tmp_path / "tasks") == read(tmp_path / "one")


@pytest.mark.slow
def test_two_workers_leave_the_bytes_of_one(options, tmp_path):
    expected = run(options, tmp_path / "one", "near")
    assert run(options, tmp_path / "two", "near", num_workers=2) == expected
    assert read(tmp_path / "two") == read(tmp_path / "one")


def test_records_are_made_of_what_stays(options, tmp_path):
    records = dataclasses.replace(options, format="records", dupe_factor=1, max_seq_length=32)
    every = run(records, tmp_path / "every")
    once = run(records, tmp_path / "once", "near")
    assert once["documents"] == 60 and once["duplicates"]["near duplicate"]["documents"] == 20
    assert once["train_examples"] < 0.75 * every["train_examples"]
    assert "duplicates" not in every and "drop_duplicates" not in every["flags"]


def test_option_decides_the_content_and_older_folders_go_on_without_it(options, tmp_path):
    run(options, tmp_path / "near", "near")
    with pytest.raises(ValueError, match="drop_duplicates='near' and not None"):
        run(options, tmp_path / "near")
    with pytest.raises(ValueError, match="drop_duplicates='near' and not 'exact'"):
        run(options, tmp_path / "near", "exact")
    manifest = json.loads((tmp_path / "near" / "manifest.json").read_text())
    del manifest["flags"]["drop_duplicates"]  # as it was before there was the option
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(VOCABULARY, tmp_path / "old" / "vocab.model")
    assert run(options, tmp_path / "old")["documents"] == 100


def test_another_kind_is_refused(options):
    with pytest.raises(ValueError, match="`drop_duplicates` must be one of none, exact, near"):
        dataclasses.replace(options, drop_duplicates="all")
