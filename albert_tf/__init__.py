"""ALBERT in TensorFlow 2 and Keras 3, from raw text to a served model.

The public names load on first use, so that a data pipeline does not wait for Keras.
"""

import importlib
import pathlib
import sys

import wrapt

__version__ = "0.1.0"

# In a checkout `pipelines/` and `configs/` lie beside this folder; in an installed copy within it.
_ROOT = pathlib.Path(__file__).parent
if not (_ROOT / "pipelines").is_dir():
    __path__.append(str(_ROOT.parent))

_PUBLIC_NAMES = {
    "AlbertConfig": "albert_tf.config",
    "AlbertEncoder": "albert_tf.modeling",
    "AlbertForPretraining": "albert_tf.models",
    "AlbertModel": "albert_tf.models",
    "AlbertMaskedLM": "albert_tf.models",
    "AlbertClassifier": "albert_tf.task_models",
    "AlbertRegressor": "albert_tf.task_models",
    "AlbertTokenClassifier": "albert_tf.task_models",
    "AlbertMultipleChoice": "albert_tf.task_models",
    "AlbertSpanSelector": "albert_tf.task_models",
    "AlbertAnswerabilitySelector": "albert_tf.task_models",
    "CheckpointError": "albert_tf.stored_tensors",
    "AdamW": "albert_tf.optimization",
    "Lamb": "albert_tf.optimization",
    "Muon": "albert_tf.optimization",
    "WarmupPolynomialDecay": "albert_tf.optimization",
    "FillMask": "albert_tf.inference",
    "Features": "albert_tf.inference",
    "Classifier": "albert_tf.task_inference",
    "Regressor": "albert_tf.task_inference",
    "Tagger": "albert_tf.task_inference",
    "Answerer": "albert_tf.task_inference",
    "Chooser": "albert_tf.task_inference",
    "add_adapters": "albert_tf.adapters",
    "Tokenizer": "albert_tf.pipelines.tokenization",
}

__all__ = list(_PUBLIC_NAMES)


def __getattr__(name):
    if name not in _PUBLIC_NAMES:
        raise AttributeError(f"module 'albert_tf' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC_NAMES[name]), name)
    if "keras" in sys.modules:
        _register_with_keras()
    return value


@wrapt.when_imported("keras")
def _register_with_keras(_=None):
    """Lets Keras find every class of ours in a `.keras` file, which names them, in any order.

    A module of the model side that is being imported just now will import the others itself, or was
    asked for by `__getattr__`, which comes here when that is done. `pipelines` import none of them.
    """
    ours = (module for name, module in list(sys.modules.items()) if name.startswith("albert_tf."))
    unfinished = [m for m in ours if getattr(m.__spec__, "_initializing", False)]
    if all(module.__name__.startswith("albert_tf.pipelines.") for module in unfinished):
        for name in ("albert_tf.models", "albert_tf.task_models"):
            importlib.import_module(name)


def __dir__():
    return sorted([*globals(), *_PUBLIC_NAMES])
