"""LiteRT and ONNX files answer ids as the model does, in whatever batch they come."""

import keras
import numpy as np
import pytest
from samples import tiny_config

from albert_tf.exporting import export, portable_files
from albert_tf.exporting.check import ExportError
from albert_tf.exporting.settings import ExportSettings
from albert_tf.model import language_models, task_models

WIDE = {"hidden_size": 128, "intermediate_size": 512}
PACKAGES = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}


def make(model_class, **changes):
    keras.utils.set_random_seed(3)
    return model_class(tiny_config(**changes))


@pytest.fixture(params=PACKAGES)
def form(request):
    pytest.importorskip(PACKAGES[request.param])
    return request.param


@pytest.mark.parametrize(
    "model_class",
    [
        language_models.AlbertMaskedLM,
        *(
            pytest.param(model_class, marks=pytest.mark.slow)
            for model_class in (
                task_models.AlbertAnswerabilitySelector,
                *(language_models.AlbertModel, task_models.AlbertClassifier),
                *(task_models.AlbertRegressor, task_models.AlbertTokenClassifier),
                *(task_models.AlbertSpanSelector, task_models.AlbertMultipleChoice),
            )
        ),
    ],
)
def test_every_model_is_written_and_within_rounding(tmp_path, form, model_class):
    model = make(model_class)
    described = portable_files.write_and_check(form, model, tmp_path / "m", "float32")
    assert described["largest_difference"] < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu"},
        {"hidden_act": "relu"},
        {"num_hidden_groups": 2},
        {"inner_group_num": 2},
    ],
)
def test_every_architecture(tmp_path, form, changes):
    model = make(task_models.AlbertClassifier, **{"num_hidden_layers": 2} | changes)
    described = portable_files.write_and_check(form, model, tmp_path / "m", "float32")
    assert described["largest_difference"] < 1e-5


@pytest.mark.slow
def test_weights_lie_in_the_file_once_however_deep_the_model_is(tmp_path, form):
    write, _, _ = portable_files.FORMATS[form]
    sizes = []
    for layers in (1, 3):
        model = make(task_models.AlbertClassifier, **WIDE, num_hidden_layers=layers)
        write(model, tmp_path / str(layers))
        sizes.append((tmp_path / str(layers)).stat().st_size)
    assert sizes[1] - sizes[0] < 0.2 * 4 * model.count_params()


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_model_for_embeddings_gives_them(tmp_path, form, tokenizer, pooling):
    keras.utils.set_random_seed(3)
    model = language_models.AlbertEmbedder(tiny_config(), pooling=pooling)
    model.save_pretrained(tmp_path / "model", tokenizer)
    settings = ExportSettings(also=(form,), precision="float32")
    loaded = export.load(tmp_path / "model", settings)
    (described,) = export._write_files(loaded, tmp_path / "model", tmp_path, lambda line: None)
    assert described["outputs"] == ["embedding"]
    ids = np.array([[2, 7, 8, 3], [2, 9, 3, 0]], np.int32)
    inputs = {"input_ids": ids, "input_mask": (ids > 0).astype(np.int32), "segment_ids": 0 * ids}
    found = portable_files.FORMATS[form][1](tmp_path / described["file"], inputs)["embedding"]
    np.testing.assert_allclose(found, model(inputs, training=False), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_long_padding_gives_numbers(tmp_path, form):
    model = make(task_models.AlbertClassifier)
    write, run, _ = portable_files.FORMATS[form]
    write(model, tmp_path / "m")
    ids = np.full((2, 512), 7, np.int32)
    inputs = {"input_ids": ids, "input_mask": np.zeros_like(ids), "segment_ids": 0 * ids}
    inputs["input_mask"][:, 0] = 1
    found = run(tmp_path / "m", inputs)["scores"]
    short = {name: values[:, :1] for name, values in inputs.items()}
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, model(short, training=False), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_smaller_weights_are_smaller_and_close(tmp_path, precision):
    pytest.importorskip(PACKAGES["litert"])
    model = make(task_models.AlbertClassifier, **WIDE)
    sizes = {
        kind: portable_files.write_and_check("litert", model, tmp_path / kind, kind)["bytes"]
        for kind in ("float32", precision)
    }
    assert sizes[precision] < (0.62 if precision == "float16" else 0.4) * sizes["float32"]


def test_a_file_that_answers_otherwise_is_refused(tmp_path, form, monkeypatch):
    write, run, suffix = portable_files.FORMATS[form]
    wrong = (write, lambda path, inputs: {"scores": run(path, inputs)["scores"] + 1}, suffix)
    monkeypatch.setitem(portable_files.FORMATS, form, wrong)
    with pytest.raises(ExportError, match="scores must be within 0.0001 of the model"):
        model = make(task_models.AlbertClassifier)
        portable_files.write_and_check(form, model, tmp_path / "m", "float32")


def test_onnx_has_one_precision(tmp_path):
    with pytest.raises(ValueError, match="must have the precision float32. Received: 'int8'"):
        portable_files.write_onnx(make(task_models.AlbertClassifier), tmp_path / "m", "int8")
