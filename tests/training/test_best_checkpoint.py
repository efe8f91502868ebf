"""The best checkpoint is the first with the highest score, also after a kill."""

import json

from albert_tf.training.best_checkpoint import BestCheckpoint, best_folders


def make(folder, patience=0, splits=("dev",)):
    return BestCheckpoint(
        folder,
        splits=splits,
        metric="score",
        save_files=lambda partial: (partial / "model").write_text("weights"),
        patience=patience,
    )


def log(folder, *rows):
    with open(folder / "metrics.jsonl", "a") as file:
        for step, split, score in rows:
            file.write(json.dumps({"step": step, "split": split, "score": score}) + "\n")


def folders(folder):
    return sorted(path.name for path in folder.glob("best-*"))


def test_first_of_the_highest_is_kept(tmp_path):
    best = make(tmp_path)
    for step, score, kept in ((1, 0.5, 1), (2, 0.7, 2), (3, 0.7, 2), (4, 0.6, 2), (5, 0.8, 5)):
        log(tmp_path, (step, "train", 9.0), (step, "dev", score))
        assert not best.after_evaluation(step, {})
        assert best.best_step() == kept
        assert folders(tmp_path) == [f"best-{kept:08d}"] == [best.path().name]


def test_best_at_the_last_checkpoint_is_kept_beside_a_better_one(tmp_path):
    best = make(tmp_path)
    log(tmp_path, (1, "dev", 0.5))
    best.after_evaluation(1, {})
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    log(tmp_path, (2, "dev", 0.7))
    best.after_evaluation(2, {})
    log(tmp_path, (3, "dev", 0.8))
    best.after_evaluation(3, {})
    assert folders(tmp_path) == ["best-00000001", "best-00000003"]
    # A kill sends the run back to step 1: what came later is made again.
    make(tmp_path)
    assert folders(tmp_path) == ["best-00000001"]


def test_scores_of_several_splits_are_averaged(tmp_path):
    best = make(tmp_path, splits=("dev_a", "dev_b"))
    log(tmp_path, (1, "dev_a", 0.9), (1, "dev_b", 0.1), (2, "dev_a", 0.6), (2, "dev_b", 0.6))
    assert best.scores() == {1: 0.5, 2: 0.6}


def test_patience_counts_evaluations_since_the_best(tmp_path):
    stops = []
    for step, score in enumerate((0.5, 0.6, 0.4, 0.6, 0.5), start=1):
        log(tmp_path, (step, "dev", score))
        # A new object each time, as after a kill.
        stops.append(make(tmp_path, patience=2).after_evaluation(step, {}))
    assert stops == [False, False, False, True, True]


def test_evaluation_that_is_repeated_after_a_kill_saves_again(tmp_path):
    log(tmp_path, (1, "dev", 0.5))
    make(tmp_path).after_evaluation(1, {})
    (tmp_path / "best-00000001" / "model").unlink()
    make(tmp_path).after_evaluation(1, {})
    assert (tmp_path / "best-00000001" / "model").exists()


def test_a_copy_that_a_user_made_is_left_alone(tmp_path):
    (tmp_path / "best-backup").mkdir()
    (tmp_path / "best-00000100").mkdir()
    assert best_folders(tmp_path) == [tmp_path / "best-00000100"]
