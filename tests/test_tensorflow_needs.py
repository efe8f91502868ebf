"""What only TensorFlow can do is refused in one line where Keras runs on something else."""

import keras
import pytest

from albert_tf import failures, tensorflow_needs
from albert_tf.exporting import export
from albert_tf.finetuning import finetune
from albert_tf.inference.text_encoder import TextEncoder
from albert_tf.inference.text_model import FillMask
from albert_tf.model import fused_ops
from albert_tf.pretraining import pretrain


def test_a_missing_tensorflow_is_told_as_what_is_lacking():
    with pytest.raises(ImportError, match=r"^reading needs TensorFlow: install .*'tensorflow'"):
        with tensorflow_needs.errors_name("reading"):
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


def test_another_missing_module_is_told_as_python_does():
    with pytest.raises(ModuleNotFoundError) as raised:
        with tensorflow_needs.errors_name("reading"):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert not isinstance(raised.value, failures.Failure)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pretrain.pretrain(None),
        lambda: finetune.finetune(None),
        lambda: export.export("model", "served"),
        lambda: FillMask(None, None),
        lambda: TextEncoder(None),
        lambda: fused_ops.compile_by_shape(lambda batch: batch),
    ],
    ids=["pretraining", "finetuning", "export", "FillMask", "TextEncoder", "step"],
)
def test_trainers_exports_and_models_of_texts_refuse_another_backend(monkeypatch, call):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(failures.Failure, match=r"needs Keras on TensorFlow.* Received: jax$"):
        call()
