"""Cards of models, read by the hub's own reader and by a reader of YAML."""

import math
import re

import pytest
import yaml

from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.training import model_card
from albert_tf.training.model_card import TrainingData

COPY = "/home/me/.cache/hub/models--albert--albert-base-v2/snapshots/" + "c" * 40
ODD = 'no: "yes"\n| `a` # \x85\u2028 \\ {b} 😀 \udc80'


def write(folder, data=None, values=None, **changes):
    settings = {
        "task": "classification",
        "output_dir": str(folder),
        "train_file": "/home/me/secret/reviews.csv",
        "init_checkpoint": COPY,
        "seeds": (0, 7),
        "jit_compile": True,
        **(values or {}),
    }
    spread = {"mean": 0.5, "deviation": 0.1, "values": [0.45, 0.55]}
    arguments = {
        "command": "run_finetuning",
        "run": FinetuningRun.of(**settings),
        "kind": "classification",
        "data": data or TrainingData(name="reviews", examples={"train": 1200, "dev": 30}),
        "scores": {"dev": {"macro_f1": spread, "accuracy": {**spread, "mean": 1e-5}}},
        "baseline": {"dev": {"accuracy": 0.25}},
        "seeds": [0, 7],
        "kept_seed": 7,
        "main_metric": "accuracy",
        "init_checkpoint": settings["init_checkpoint"],
    }
    folder.mkdir(exist_ok=True)
    model_card.write(folder, **{**arguments, **changes})
    return (folder / "README.md").read_text(encoding="utf-8")


def metadata_of(text):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.S)[1])


def test_the_hub_reads_scores_with_seeds(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    write(tmp_path / "mine", values={"license": "apache-2.0", "language": ("no", "en")})
    data = hub.ModelCard.load(tmp_path / "mine" / "README.md").data
    first, second = data.eval_results
    assert (first.metric_type, first.metric_value) == ("accuracy", 1e-5)
    assert (second.metric_type, second.metric_name, second.metric_value) == ("f1", "macro_f1", 0.5)
    assert second.metric_args == {"seeds": [0, 7], "values": [0.45, 0.55]}
    assert (second.dataset_name, second.dataset_split) == ("reviews", "dev")
    assert second.task_type == data.pipeline_tag == "text-classification"
    assert data.model_name == "mine" and data.library_name == "albert_tf"
    assert data.base_model == "albert/albert-base-v2"
    assert data.license == "apache-2.0" and data.language == ["no", "en"]


def test_other_data_that_was_scored_has_its_name_there(tmp_path):
    scored_on = model_card.TrainingData(name="xquad.de", examples={})
    data = model_card.TrainingData(
        name="SQuAD 1.1", hub_name="rajpurkar/squad", examples={"train": 9}, scored_on=scored_on
    )
    text = write(tmp_path / "mine", data=data)
    metadata = metadata_of(text)
    assert metadata["datasets"] == ["rajpurkar/squad"]
    results = metadata["model-index"][0]["results"]
    assert {result["dataset"]["type"] for result in results} == {"xquad.de"}
    assert "SQuAD 1.1; scored on xquad.de" in text


def test_what_is_not_known_is_left_to_the_user(tmp_path):
    metadata = metadata_of(write(tmp_path / "mine", values={"init_checkpoint": "models/base"}))
    assert not {"license", "language", "base_model", "datasets"} & metadata.keys()


def test_a_card_says_data_scores_and_recipe_for_people(tmp_path):
    text = write(tmp_path / "mine")
    assert "| dev | accuracy | 0.0000 ± 0.1000 | 0.4500, 0.5500 | 0.2500 |" in text
    assert "The weights here are those of seed 7." in text
    assert "| train | 1,200 |" in text
    recipe = text.partition("````sh\n")[2].replace(" \\\n   ", "")
    assert recipe.startswith("python -m albert_tf.run_finetuning --task=classification --seeds=0,7")
    assert f" --init_checkpoint=hf://albert/albert-base-v2@{'c' * 40}" in recipe
    assert " --train_file=reviews.csv" in recipe and " --jit_compile" in recipe
    assert "learning_rate" not in recipe


def test_names_with_commas_are_one_name_in_the_recipe(tmp_path):
    text = write(tmp_path / "mine", values={"labels": ("war, civil", "love")})
    assert "--labels='\"war, civil\",love'" in text


def test_no_path_of_this_machine_stands_in_a_card(tmp_path):
    text = write(tmp_path / "mine", values={"data_dir": None, "cache_dir": "/home/me/cache"})
    assert "/home" not in text and str(tmp_path) not in text


def test_odd_names_stay_within_their_place(tmp_path):
    text = write(tmp_path / "mine", data=TrainingData(name=ODD, examples={"train": 1}))
    (result,) = metadata_of(text)["model-index"][0]["results"]
    assert result["dataset"]["name"] == ODD
    assert "| `a`" not in text.partition("\n---\n")[2]


def test_scores_that_are_no_numbers_stay_out_of_the_index(tmp_path):
    nothing = {"mean": math.nan, "deviation": None, "values": [math.nan]}
    text = write(tmp_path / "mine", scores={"dev": {"accuracy": nothing}}, seeds=[0])
    assert "model-index" not in metadata_of(text)
    assert "| dev | accuracy | nan |" in text


def test_a_card_that_was_made_ones_own_stays(tmp_path):
    path = tmp_path / "mine" / "README.md"
    first = write(tmp_path / "mine")
    assert "seed 1" in write(tmp_path / "mine", seeds=[1, 2])
    path.write_text(first.replace(model_card._MARK, "") + "\nMy words.\n")
    assert "My words." in write(tmp_path / "mine", seeds=[3, 4])
