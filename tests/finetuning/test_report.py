"""The report shows the numbers it is given, and runs nothing that the data says."""

import dataclasses
import html.parser
import re

import numpy as np
import pytest

from albert_tf.finetuning import results
from albert_tf.finetuning.pictures import draw_confusion, draw_learning_curves
from albert_tf.finetuning.report import ReportContent, class_scores, label_rows, write_report
from albert_tf.tasks.diagnosis import Confusion, ErrorSample, LabelScores, ScoreHistogram

VOID = {"meta", "img", "br", "link"}


class Checker(html.parser.HTMLParser):
    """Notes whether tags balance, and what is loaded from where."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def history(scale=1.0):
    rows = []
    for step in range(1, 5):
        rows.append({"step": step, "split": "train", "classification_loss": scale / step})
        rows.append({"step": step, "split": "dev", "accuracy": 0.2 * step})
    return rows


def make_content(seeds=("0", "1", "2"), **changes):
    best = dict(zip(("0", "1", "2"), (0.5, 0.6, 0.85), strict=True))
    values = {
        "title": "a task",
        "settings": {"learning_rate": "2e-05"},
        "main_metric": "accuracy",
        "results": {
            "dev": {
                s: {"best": {"accuracy": best[s]}, "last": {"accuracy": best[s] - 0.25}}
                for s in seeds
            }
        },
        "best_steps": {seed: 3 for seed in seeds},
        "baselines": {"dev": {"accuracy": 0.4321}},
        "histories": {seed: history() for seed in seeds},
        **changes,
    }
    return ReportContent(**values)


def page_of(folder, content):
    write_report(folder / "report.html", content)
    page = (folder / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "script" not in checker.tags
    assert all(source.startswith("data:") for source in checker.sources)
    return page


def test_means_and_deviations_are_those_of_the_seeds(tmp_path):
    page = page_of(tmp_path, make_content())
    deviation = np.std([0.5, 0.6, 0.85], ddof=1)
    assert f"0.6500 ± {deviation:.4f}" in page  # best
    assert f"0.4000 ± {deviation:.4f}" in page  # last
    assert "0.4321" in page and "2e-05" in page and "seed 2" in page


def test_one_seed_has_no_deviation(tmp_path):
    page = page_of(tmp_path, make_content(seeds=("1",)))
    assert "0.6000" in page and "±" not in page


def test_what_the_data_says_is_shown_and_not_run(tmp_path):
    nasty = "<script>alert('x')</script>"
    page = page_of(
        tmp_path,
        make_content(
            title=nasty,
            errors=[ErrorSample({"text": nasty + "long " * 100}, nasty, "b", 0.5)],
            confusion=Confusion([nasty, "$b$"], np.array([[3, 1], [0, 2]])),
            notes=[nasty],
        ),
    )
    assert page.count("&lt;script&gt;") >= 5
    assert "<details>" in page  # the long text is there whole


def test_class_scores_by_hand():
    rows = class_scores(Confusion(["a", "b", "c"], np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]])))
    assert rows[0] == ("a", 4, "0.600", "0.750", "0.667")
    assert rows[1] == ("b", 4, "0.667", "0.500", "0.571")
    assert rows[2] == ("c", 0, "0.000", "0.000", "0.000")


SEVERAL = LabelScores(
    labels=["a", "$b$"],
    gold=[4, 2],
    predicted=[5, 0],
    right=[3, 0],
    thresholds=[0.25, 0.5],
    curves=[[0.5] * len(LabelScores.PLACES)] * 2,
)


def test_scores_of_several_labels_by_hand(tmp_path):
    rows = label_rows(SEVERAL)
    assert rows[0] == ("a", 4, "0.600", "0.750", "0.667", "0.250")
    assert rows[1] == ("$b$", 2, "0.000", "0.000", "0.000", "0.500")
    page = page_of(tmp_path, make_content(label_scores=SEVERAL, diagnosed="dev"))
    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert "class dev precision recall F1 threshold a 4 0.600 0.750 0.667 0.250 $b$ 2" in text
    assert "F1 of each label by its threshold" in page


def test_labels_that_are_never_found_are_told_from_others():
    assert results._never_found({"label_scores": dataclasses.asdict(SEVERAL)}) == ["$b$"]
    counts = [[3, 0], [2, 0]]
    assert results._never_found({"confusion": {"labels": ["a", "b"], "counts": counts}}) == ["b"]
    assert results._never_found({"errors": []}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"histories": {"0": []}, "results": {}, "best_steps": {}, "baselines": {}},
        {"histogram": ScoreHistogram("scores", [1.0, 2.0, 3.0], [1.5, 1.5, 3.0])},
        {"histogram": ScoreHistogram("F1", None, [0.0, 0.5, 1.0])},
        {"confusion": Confusion([f"class {n}" for n in range(40)], np.eye(40, dtype=int))},
    ],
    ids=["nothing", "numbers", "scores", "many classes"],
)
def test_page_is_whole_whatever_there_is_to_show(tmp_path, changes):
    page = page_of(tmp_path, make_content(**changes))
    if "confusion" in changes:
        assert "the 30 most frequent of 40" in page


def test_classes_baselines_and_mistakes_are_counted(tmp_path):
    page = page_of(
        tmp_path,
        make_content(
            diagnosed="dev",
            best_seed="2",
            confusion=Confusion(["a", "b"], np.array([[31, 2], [1, 4]])),
            train_counts={"a": 1234},
            errors=[ErrorSample({"text": "t"}, "a", "b", 0.8765, "probability")],
            num_errors=3,
            defaults={"batch_size": "32"},
        ),
    )
    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert "accuracy * 0.6500 ± 0.1803 0.4000 ± 0.1803 0.4321 0.5000 0.6000 0.8500" in text
    assert "class in training dev precision recall F1 a 1234 33 0.969 0.939 0.954 b 0 5" in text
    assert "Mistakes on dev, seed 2 3 in all, of which 1 are shown. text: t right: a" in text
    assert "predicted: b · probability 0.876" in text
    assert "all others, at their defaults batch_size 32" in text


def test_curves_are_a_picture():
    picture = draw_learning_curves({"0": history(), "1": history(2.0)}, "accuracy", {"0": 4})
    assert picture.startswith(b"\x89PNG")
    other = draw_learning_curves({"0": history(), "1": history(2.0)}, "accuracy", {"0": 2})
    assert picture != other  # the best step is marked
    baselines = {"dev": {"accuracy": 0.3}}
    assert other != draw_learning_curves(
        {"0": history(), "1": history(2.0)}, "accuracy", {"0": 2}, baselines
    )


def test_the_scale_of_a_loss_is_no_loss():
    scaled = [{**row, "loss_scale": 32768.0} for row in history()]
    plain = draw_learning_curves({"0": history()}, "accuracy", {"0": 4})
    assert draw_learning_curves({"0": scaled}, "accuracy", {"0": 4}) == plain


def test_names_that_the_font_cannot_draw_are_numbers_that_the_caption_tells():
    caption, picture = draw_confusion(Confusion(["好评", "good", "差评"], np.eye(3, dtype=int)))
    assert caption.endswith("; (1) is 好评; (3) is 差评")
    assert picture.startswith(b"\x89PNG")
