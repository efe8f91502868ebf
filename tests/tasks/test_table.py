"""Each kind of task from its files to a model directory that answers in process."""

import dataclasses
import json

import numpy as np
import pytest

from albert_tf.checkpoints import model_kinds, tokenizer_files
from albert_tf.finetuning import card, finetune, report
from albert_tf.finetuning.finetune import FinetuningRun
from albert_tf.inference import fine_tuned
from albert_tf.model import task_models
from albert_tf.pipelines.task_data import squad, tagged_words
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.tasks import squad_metrics
from albert_tf.tasks.table import TASKS, TaskOptions, make_task

pytestmark = pytest.mark.usefixtures("undrawn")

CONTEXT = "The old cat sat on the mat near the river. " * 6 + "The dog ate 2,000 birds in Paris."


def fine_tune(folder, pretrained, task, options, **changes):
    if task.startswith("squad"):
        options = {"max_query_length": 16, **options}
    options = TaskOptions(**{"max_seq_length": 64, **options})
    settings = {
        "task": task,
        "options": options,
        "output_dir": str(folder / "out"),
        "init_checkpoint": str(pretrained),
        "train_steps": 3,
        "batch_size": 4,
        "learning_rate": 1e-3,
        **changes,
    }
    results = finetune.finetune(FinetuningRun.of(**settings), report=lambda line: None)
    return folder / "out", results


def write_squad(path, impossible=False):
    start = CONTEXT.index("Paris")
    entries = [
        {"id": "a", "question": "where?", "answers": [{"text": "Paris", "answer_start": start}]},
        {
            "id": "b",
            "question": "who sat?",
            "answers": [{"text": "The old cat", "answer_start": 0}],
        },
    ]
    if impossible:
        entries.append({"id": "c", "question": "why?", "answers": [], "is_impossible": True})
    data = [
        {
            "title": title,
            "paragraphs": [
                {"context": CONTEXT, "qas": [dict(e, id=title + e["id"]) for e in entries]}
            ],
        }
        for title in "xyz"
    ]
    path.write_text(json.dumps({"data": data}))
    return str(path)


@pytest.mark.parametrize(
    "model_class", [task_models.AlbertSpanSelector, task_models.AlbertAnswerabilitySelector]
)
def test_evaluation_alone_finds_the_head_that_the_model_has(tmp_path, pretrained, model_class):
    tokenizer = tokenizer_files.load_tokenizer(pretrained)
    model = model_class.from_pretrained(pretrained, initialize_head=True)
    model.save_pretrained(tmp_path / "answers", tokenizer)
    options = {"dev_file": write_squad(tmp_path / "dev.json", impossible=True)}
    _, results = fine_tune(tmp_path, tmp_path / "answers", "squad2", options, train=False)
    assert {"exact", "f1"} <= results["summary"]["dev"].keys()


def test_a_file_comes_before_a_data_set_by_name(tmp_path):
    path = write_squad(tmp_path / "squad.json")
    options = TaskOptions(train_file=path, dev_file=path, data_source="tfds")
    task = make_task("squad1", options.filled(), InputProblems())
    assert [question.guid for question in task.read("dev")] == [
        question.guid for question in squad.read(path, InputProblems())
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "head"),
    [
        ("squad1", "plain"),
        pytest.param("squad2", "answerability", marks=pytest.mark.slow),
        pytest.param("squad2", "plain", marks=pytest.mark.slow),
    ],
)
def test_squad_answers_every_question_in_the_official_files(tmp_path, pretrained, task, head):
    path = write_squad(tmp_path / "squad.json", impossible=task == "squad2")
    options = {"train_file": path, "dev_file": path, "test_file": path, "answer_head": head}
    output, results = fine_tune(tmp_path, pretrained, task, options, predict_test=True)
    questions = squad.read(path, InputProblems())
    scores = results["summary"]["dev"]
    assert ("exact_match" in scores) == (task == "squad1")
    for split in ("dev", "test"):
        folder = output / "seed-0" / "predictions" / split
        predictions = json.loads((folder / "predictions.json").read_text())
        n_best = json.loads((folder / "nbest_predictions.json").read_text())
        assert predictions.keys() == n_best.keys() == {question.guid for question in questions}
        for answers in n_best.values():
            assert 1 <= len(answers) <= 20
            assert answers[0]["score"] == max(answer["score"] for answer in answers)
            for answer in answers:
                assert CONTEXT[answer["start"] : answer["end"]] == answer["text"]
        assert (folder / "null_odds.json").exists() == (task == "squad2")
    answer = fine_tuned.Answerer.from_pretrained(output)
    found = answer([(question.question, question.context) for question in questions])
    for question, said in zip(questions, found, strict=True):
        best = n_best[question.guid][0]
        assert said["answers"][0]["answer"] == best["text"]
        np.testing.assert_allclose(said["answers"][0]["score"], best["score"], atol=1e-4)
        if task == "squad1":
            assert said["answer"] == predictions[question.guid]
    if task == "squad2":
        settings = json.loads((output / "task.json").read_text())
        null_odds = json.loads((folder / "null_odds.json").read_text())
        decided = 0
        for question, said in zip(questions, found, strict=True):
            margin = null_odds[question.guid] - settings["null_threshold"]
            # The threshold is the score of one of these questions, itself on its edge.
            if abs(margin) > 1e-4:
                assert (said["answer"] == "") == (margin > 0)
                decided += 1
        assert decided > 3


@pytest.mark.slow
def test_squad2_scores_are_those_of_thresholds_from_other_articles(tmp_path, pretrained):
    path = write_squad(tmp_path / "squad.json", impossible=True)
    options = {"train_file": path, "dev_file": path}
    output, results = fine_tune(tmp_path, pretrained, "squad2", options)
    folder = output / "seed-0" / "predictions" / "dev"
    n_best = json.loads((folder / "nbest_predictions.json").read_text())
    null_odds = json.loads((folder / "null_odds.json").read_text())
    questions = squad.read(path, InputProblems())
    gold = squad.gold_answers(questions)
    texts = {guid: answers[0]["text"] for guid, answers in n_best.items()}
    final, _ = squad_metrics.cross_fitted_predictions(
        texts, gold, null_odds, squad.titles(questions)
    )
    expected = squad_metrics.evaluate_v2(final, gold)
    assert results["seeds"]["0"]["best"]["dev"]["f1"] == expected["f1"]


def write_race(root):
    for split, count in (("train", 3), ("dev", 2), ("test", 2)):
        for level in ("middle", "high"):
            folder = root / split / level
            folder.mkdir(parents=True)
            for number in range(count):
                passage = {
                    "article": CONTEXT,
                    "questions": ["The dog ate _ .", "Where did it sit?"],
                    "options": [["cats", "birds", "mats", "rivers"], list("abcd")],
                    "answers": ["B", "D"],
                    "id": f"{level}{number}.txt",
                }
                (folder / f"{number}.txt").write_text(json.dumps(passage))
    return str(root)


@pytest.mark.slow
def test_race_reports_both_levels_from_one_run(tmp_path, pretrained):
    data_dir = write_race(tmp_path / "RACE")
    options = {"data_dir": data_dir, "max_qa_length": 20}
    output, results = fine_tune(tmp_path, pretrained, "race", options, predict_test=True)
    scores = results["seeds"]["0"]["best"]["dev"]
    np.testing.assert_allclose(
        scores["accuracy"], (scores["accuracy_middle"] + scores["accuracy_high"]) / 2
    )
    rows = [
        json.loads(line)
        for line in (output / "seed-0" / "predictions" / "dev.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 8
    assert np.mean([row["prediction"] == row["label"] for row in rows]) == scores["accuracy"]
    chooser = fine_tuned.Chooser.from_pretrained(output)
    said = chooser((CONTEXT, "The dog ate _ .", ["cats", "birds", "mats", "rivers"]))
    assert "ABCD"[said["index"]] == rows[0]["prediction"]
    np.testing.assert_allclose(sum(said["scores"]), 1, rtol=1e-5)


@pytest.mark.slow
def test_tagging_scores_entities_and_tags_every_word(tmp_path, pretrained):
    path = tmp_path / "train.conll"
    sentence = "The O\nold O\ncat B-ANIMAL\nsat O\nin O\nNew B-PLACE\nYork I-PLACE\n\n"
    path.write_text("-DOCSTART- O\n\n" + sentence * 8)
    test = tmp_path / "test.conll"
    test.write_text("A\ncat\n\n" + "dog\n" * 90)
    options = {"train_file": str(path), "dev_file": str(path), "test_file": str(test)}
    output, results = fine_tune(
        tmp_path,
        pretrained,
        "tagging",
        options,
        predict_test=True,
        train_steps=60,
        learning_rate=5e-3,
    )
    assert results["metric"] == "entity_f1"
    assert results["summary"]["dev"]["entity_f1"]["mean"] > 0.9
    assert results["baseline"]["dev"]["accuracy"] == pytest.approx(4 / 7)
    lines = (output / "seed-0" / "predictions" / "test.conll").read_text().splitlines()
    assert len([line for line in lines if line]) == 92  # the long sentence is tagged to its end
    assert lines[0].split("\t")[0] == "A"
    tagger = fine_tuned.Tagger.from_pretrained(output)
    found = tagger("The old cat sat in New York")
    assert [word["tag"] for word in found] == [
        *("O", "O", "B-ANIMAL", "O", "O", "B-PLACE", "I-PLACE")
    ]


def test_table_of_any_form_is_read_as_the_options_say(tmp_path):
    path = tmp_path / "rows"
    path.write_text('"one\ttwo"\tx\nthree\tz\n')
    options = TaskOptions(
        train_file=str(path),
        dev_fraction=0,
        text_column="0",
        label_column="1",
        file_format="tsv",
        has_header=False,
        quoting=True,
    )
    task = make_task("classification", options, InputProblems())
    examples = task.read("train")
    assert [(example.text_a, example.label) for example in examples] == [
        ("one\ttwo", "x"),
        ("three", "z"),
    ]


@pytest.mark.slow
def test_regression_reports_correlations_and_answers_with_numbers(tmp_path, pretrained):
    rows = [
        {"a": f"the {('cat', 'river')[n % 2]} sat", "b": "a dog", "score": (0.5, 2)[n % 2]}
        for n in range(40)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "train_file": str(path),
        "dev_file": str(path),
        **{"text_column": "a", "text_b_column": "b", "label_column": "score"},
    }
    output, results = fine_tune(
        tmp_path, pretrained, "regression", options, train_steps=80, learning_rate=3e-3
    )
    assert results["summary"]["dev"]["pearson"]["mean"] > 0.8
    score = fine_tuned.Regressor.from_pretrained(output)
    low, high = score([("the cat sat", "a dog"), ("the river sat", "a dog")])
    assert low < high


@pytest.mark.slow
def test_glue_task_writes_the_file_of_the_leaderboard(tmp_path, pretrained):
    folder = tmp_path / "GLUE" / "RTE"
    folder.mkdir(parents=True)
    rows = "".join(f"{n}\tthe cat sat\ta cat\t{'not_' * (n % 2)}entailment\n" for n in range(8))
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + rows)
    (folder / "test.tsv").write_text("index\tsentence1\tsentence2\n7\tthe cat\ta cat\n")
    options = {"data_dir": str(tmp_path / "GLUE")}
    output, results = fine_tune(tmp_path, pretrained, "rte", options, predict_test=True)
    assert results["baseline"]["dev"]["accuracy"] == 0.5
    lines = (output / "seed-0" / "predictions" / "RTE.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and lines[1].split("\t")[0] == "7"
    assert lines[1].split("\t")[1] in ("entailment", "not_entailment")


@pytest.mark.parametrize("order", [["0", "1"], ["1", "0"]])
def test_f1_is_of_the_class_1_in_whatever_order_the_model_has_them(order):
    task = make_task("mrpc", TaskOptions(data_dir="."), InputProblems())
    task.restore(model_kinds.ClassNotes(is_pair=True), order)
    gold, predictions = "1110", ["1", "1", "0", "1"]
    examples = [TextExample(str(n), "a", "b", label) for n, label in enumerate(gold)]
    scores = task.score(examples, predictions)
    assert scores["f1"] == pytest.approx(2 / 3) and scores["accuracy"] == 0.5


def test_squad_1_has_no_place_for_questions_without_an_answer(tmp_path):
    write_squad(tmp_path / "dev.json", impossible=True)
    options = TaskOptions(dev_file=str(tmp_path / "dev.json"))
    with pytest.raises(InputError, match="dev.json, question .*c: must have an answer for `task=s"):
        make_task("squad1", options, InputProblems()).read("dev")
    questions = make_task("squad1", options, InputProblems(skip=True)).read("dev")
    assert questions and all(question.answers for question in questions)
    qas = [{"id": "c", "question": "why?", "answers": [], "is_impossible": True}]
    article = {"title": "t", "paragraphs": [{"context": CONTEXT, "qas": qas}]}
    (tmp_path / "dev.json").write_text(json.dumps({"data": [article]}))
    with pytest.raises(InputError, match="must hold questions with answers. Received: none"):
        make_task("squad1", options, InputProblems(skip=True)).read("dev")


def test_classes_of_another_program_keep_their_order():
    def restored(*labels):
        task = make_task("mnli", TaskOptions(data_dir="x"), InputProblems())
        task.restore(model_kinds.TextNotes(), list(labels))
        return task.predict([], None, {"scores": [np.array([0.0, 2.0, 1.0])]})

    # transformers has this order: taken by number, neutral would become entailment.
    assert restored("entailment", "neutral", "contradiction") == ["neutral"]
    assert restored("LABEL_0", "LABEL_1", "LABEL_2") == ["entailment"]  # the original's order
    with pytest.raises(ValueError, match="`task=mnli` must have the classes.*Received: yes, no"):
        restored("yes", "no")


def test_an_order_that_the_model_does_not_say_is_told():
    for labels, told in (
        (["LABEL_0", "LABEL_1", "LABEL_2"], 1),
        (None, 1),
        (["entailment", "neutral", "contradiction"], 0),
    ):
        problems = InputProblems()
        make_task("mnli", TaskOptions(data_dir="x"), problems).restore(
            model_kinds.TextNotes(), labels
        )
        order = "in this order, contradiction, entailment, neutral"
        assert sum(order in line for line in problems.notes()) == told


def test_long_texts_are_read_as_in_fine_tuning_or_refused():
    def restored(noted, asked):
        task = make_task("classification", TaskOptions(long_texts=asked), InputProblems())
        task.restore(model_kinds.TextNotes(long_texts=noted), ["a", "b"])
        return task.long_texts

    assert restored("windows", "cut") == restored("windows", "windows") == "windows"
    assert restored(None, "windows_max") == "windows_max"
    with pytest.raises(ValueError, match="must be windows, with which .* Received: windows_max"):
        restored("windows", "windows_max")


@pytest.mark.parametrize("name", ["classification", "tagging"])
def test_classes_that_are_asked_for_stand_in_the_order_of_the_model(name):
    def restored(labels, asked=()):
        task = make_task(name, TaskOptions(labels=asked), InputProblems())
        notes_class = model_kinds.NOTES[task.model_class.kind]
        task.restore(notes_class(), labels)
        return task.labels

    assert restored(["neg", "pos"], ("pos", "neg")) == ("neg", "pos")
    assert restored(["neg", "pos"]) == ("neg", "pos")
    assert restored(["LABEL_0", "LABEL_1"], ("pos", "neg")) == ("pos", "neg")
    assert restored(None, ("pos", "neg")) == ("pos", "neg")
    with pytest.raises(ValueError, match="must have the classes a, b. Received: neg, pos"):
        restored(["neg", "pos"], ("a", "b"))
    with pytest.raises(ValueError, match="`labels` must be given for `task=.*: the model does not"):
        restored(None)


@pytest.mark.parametrize("name", ["classification", "regression", "multilabel", "sst2"])
def test_a_model_for_pairs_is_not_evaluated_on_single_texts(name):
    task = make_task(name, TaskOptions(data_dir="x"), InputProblems())
    notes = model_kinds.NOTES[task.model_class.kind](is_pair=True)
    with pytest.raises(ValueError, match=f"`task={name}` must have two texts .*`text_b_column`"):
        task.restore(notes, ["0", "1"])


def test_lengths_that_are_not_given_are_those_of_the_model_or_the_defaults():
    noted = model_kinds.AnswerNotes(max_seq_length=384, doc_stride=99)
    filled = TaskOptions(doc_stride=50).filled(noted)
    assert (filled.max_seq_length, filled.doc_stride, filled.max_qa_length) == (384, 50, 128)
    task = make_task("squad1", TaskOptions(data_dir="x"), InputProblems())
    assert task.notes().max_seq_length == 128 and task.notes().max_answer_tokens == 30


def test_answers_are_scored_by_the_threshold_that_the_model_has_or_by_a_new_one():
    question = squad.Question("a", "who?", "A cat sat.", "t", (), is_impossible=True)
    examples = [dataclasses.replace(question, guid=str(n), title=str(n)) for n in range(10)]
    answers = [squad_metrics.Answer("cat", 0.0, 1.0, 2, 5)]
    # Answers are never right, and all null scores are below zero.
    predictions = [{"answers": answers, "null_score": -float(n)} for n in range(1, 11)]
    task = make_task("squad2", TaskOptions(data_dir="x"), InputProblems())
    scores = task.score(examples, predictions)
    # The threshold of each half is below all of that half: at most the lowest of all is answered.
    assert scores["f1"] == 90.0 and scores["best_f1"] == 100.0
    assert task.notes().null_threshold < -10
    task.restore(model_kinds.AnswerNotes(null_threshold=-4.5), None)
    scores = task.score(examples, predictions)
    assert scores["f1"] == 40.0 and scores["best_f1"] == 100.0  # -1 to -4 exceed it
    assert task.notes().null_threshold == -4.5


def test_without_a_dev_set_a_question_has_no_answer_from_a_score_of_zero_on(tmp_path):
    task = make_task("squad2", TaskOptions(train_file="x"), InputProblems())
    assert task.notes().null_threshold == 0.0
    question = squad.Question("a", "who?", "A cat sat.", "t", (), is_impossible=True)
    examples = [dataclasses.replace(question, guid=guid) for guid in ("answered", "not")]
    answers = [squad_metrics.Answer("cat", 0.0, 1.0, 2, 5)]
    task.write(tmp_path, "test", examples, [{"answers": answers, "null_score": s} for s in (-1, 1)])
    predictions = json.loads((tmp_path / "test" / "predictions.json").read_text())
    assert predictions == {"answered": "cat", "not": ""}
    assert make_task("squad1", TaskOptions(train_file="x"), InputProblems()).null_threshold is None


def test_tags_that_training_lacks_are_mistakes_of_the_tags_that_were_said():
    task = make_task("tagging", TaskOptions(train_file="x"), InputProblems())
    task.restore(model_kinds.TaskNotes(), ["B-X", "O"])
    sentence = tagged_words.TaggedSentence("0", ("a", "b", "c", "d"), ("O", "B-Y", "B-X", "B-Y"))
    confusion = task.diagnose([sentence], [["O", "B-X", "B-X", "B-X"]], {})["confusion"]
    assert confusion.labels == ["B-X", "O", "B-Y"]
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 1, 0], [2, 0, 0]]
    scores = {row[0]: row[1:] for row in report.class_scores(confusion)}
    assert scores["B-X"] == (1, "0.333", "1.000", "0.500")
    assert scores["B-Y"] == (2, "0.000", "0.000", "0.000")


def test_numbers_that_are_right_are_not_among_those_that_are_off():
    task = make_task("regression", TaskOptions(train_file="x"), InputProblems())
    rows = [TextExample(str(n), "a", None, float(n)) for n in range(3)]
    assert [e.gold for e in task.diagnose(rows, [0.0, 1.5, 2.0], {})["errors"]] == ["1.000"]


@pytest.mark.parametrize(
    ("task", "options", "trained", "scored"),
    [
        ("squad1", {"data_dir": "x"}, "rajpurkar/squad", None),
        ("squad1", {"data_dir": "x", "dev_file": "de.json"}, "rajpurkar/squad", "de"),
        ("squad1", {"data_dir": "x", "train_file": "own.json"}, "own", "rajpurkar/squad"),
        ("classification", {"train_file": "a/own.csv"}, "own", None),
        ("classification", {"train_file": "own.csv", "dev_file": "b.csv"}, "own", "b"),
    ],
)
def test_a_card_names_what_was_trained_on_and_what_was_scored(task, options, trained, scored):
    run = FinetuningRun.of(task=task, output_dir="o", init_checkpoint="random", **options)
    data = card._describe_data(run, {"train": 1})
    assert (data.hub_name or data.name) == trained
    other = data.scored_on
    assert (other and (other.hub_name or other.name)) == scored


def test_a_card_says_which_schools_of_race():
    for levels, configuration in ((("middle",), "middle"), (("middle", "high"), "all")):
        run = FinetuningRun.of(
            task="race", data_dir="x", output_dir="o", init_checkpoint="random", levels=levels
        )
        assert card._describe_data(run, {}).configuration == configuration


def test_every_task_says_what_it_lacks():
    for name in TASKS:
        given = {"text_b_column": "like"} if name == "embedding" else {}
        with pytest.raises(ValueError, match="`(data_dir|train_file)`"):
            task = make_task(name, TaskOptions(**given), InputProblems())
            task.read("train")


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("squad1", {"answer_head": "answerability"}, "goes with `task=squad2`"),
        ("squad2", {"answer_head": "both"}, "`answer_head` must be one of plain, answerability"),
        ("race", {"data_dir": "x", "levels": ("low",)}, "`levels` must be one of middle, high"),
        ("classification", {"data_source": "tfds"}, "`task=classification` reads files"),
    ],
)
def test_options_that_do_not_fit_the_task_are_refused(task, options, message):
    with pytest.raises(ValueError, match=message):
        make_task(task, TaskOptions(**options), InputProblems())
