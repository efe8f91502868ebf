"""ALBERT in TensorFlow 2 and Keras 3, from raw text to a served model.

The public names load on first use, so that a data pipeline does not wait for Keras.
"""

import importlib
import importlib.abc
import pathlib
import sys
import threading
import types
from collections.abc import Sequence

import wrapt

from albert_tf import tensorflow_needs

__version__ = "0.1.0"

# In a checkout `pipelines/` and `configs/` lie beside this folder; in an installed copy within it.
_ROOT = pathlib.Path(__file__).parent
if not (_ROOT / "pipelines").is_dir():
    __path__.append(str(_ROOT.parent))

_PUBLIC_NAMES = {
    "AlbertConfig": "albert_tf.config",
    "AlbertEncoder": "albert_tf.model.modeling",
    "AlbertForPretraining": "albert_tf.model.language_models",
    "AlbertModel": "albert_tf.model.language_models",
    "AlbertMaskedLM": "albert_tf.model.language_models",
    "AlbertEmbedder": "albert_tf.model.language_models",
    "AlbertClassifier": "albert_tf.model.task_models",
    "AlbertRegressor": "albert_tf.model.task_models",
    "AlbertTokenClassifier": "albert_tf.model.task_models",
    "AlbertMultipleChoice": "albert_tf.model.task_models",
    "AlbertSpanSelector": "albert_tf.model.task_models",
    "AlbertAnswerabilitySelector": "albert_tf.model.task_models",
    "add_adapters": "albert_tf.model.adapters",
    "CheckpointError": "albert_tf.checkpoints.stored_tensors",
    "load_tokenizer": "albert_tf.checkpoints.tokenizer_files",
    "push_to_hub": "albert_tf.checkpoints.hub_files",
    "AdamW": "albert_tf.training.optimizers",
    "Lamb": "albert_tf.training.optimizers",
    "Muon": "albert_tf.training.optimizers",
    "WarmupPolynomialDecay": "albert_tf.training.optimizers",
    "pretrain": "albert_tf.pretraining.python_call",
    "finetune": "albert_tf.finetuning.python_call",
    "evaluate": "albert_tf.evaluation.python_call",
    "RunEvent": "albert_tf.training.metric_log",
    "keep_freed_memory": "albert_tf.freed_memory",
    "FillMask": "albert_tf.inference.text_model",
    "Features": "albert_tf.inference.features",
    "Classifier": "albert_tf.inference.fine_tuned",
    "Regressor": "albert_tf.inference.fine_tuned",
    "Tagger": "albert_tf.inference.fine_tuned",
    "Answerer": "albert_tf.inference.fine_tuned",
    "Chooser": "albert_tf.inference.fine_tuned",
    "TextEncoder": "albert_tf.inference.text_encoder",
    "Tokenizer": "albert_tf.pipelines.tokenizer.tokenization",
    "build_vocabulary": "albert_tf.pipelines.build_vocabulary",
    "read_documents": "albert_tf.pipelines.text.corpus",
    "split_sentences": "albert_tf.pipelines.text.sentence_splitting",
    "SkippedInput": "albert_tf.pipelines.sources.files",
    "pretraining_dataset": "albert_tf.pipelines.examples.pretraining_dataset",
    "ExampleSettings": "albert_tf.pipelines.examples.example_settings",
    "FreshExamples": "albert_tf.pipelines.examples.fresh_examples",
    "PackedExamples": "albert_tf.pipelines.examples.packed_examples",
    "TokenFolder": "albert_tf.pipelines.examples.token_files",
    "describe_example": "albert_tf.pipelines.examples.record_files",
    "locate_corruption": "albert_tf.pipelines.examples.record_files",
    "read_records": "albert_tf.pipelines.examples.record_files",
    "TextExample": "albert_tf.pipelines.task_data.text_examples",
    "encode_texts": "albert_tf.pipelines.task_data.text_examples",
    "finetuning_dataset": "albert_tf.pipelines.task_data.finetuning_dataset",
}
# Paths that guides printed before the folders were rooms, and the public name of what lay there.
_MOVED = {
    "albert_tf.pipelines.corpus": "read_documents, SkippedInput, split_sentences",
    "albert_tf.pipelines.finetuning": "finetuning_dataset",
    "albert_tf.pipelines.pretraining": (
        "pretraining_dataset, read_records, describe_example, locate_corruption"
    ),
    "albert_tf.pipelines.text_examples": "TextExample, encode_texts",
    "albert_tf.pipelines.tokenization": "Tokenizer",
    "albert_tf.inference.load_tokenizer": "load_tokenizer",
}
# The original's scripts, and the command that does their work here.
_SCRIPTS_OF_GOOGLE = {
    "albert_tf.create_pretraining_data": "albert_tf.pipelines.build_pretraining_data",
    "albert_tf.export_checkpoints": "albert_tf.run_export",
    "albert_tf.run_classifier": "albert_tf.run_finetuning --task=mrpc",
    "albert_tf.run_race": "albert_tf.run_finetuning --task=race",
    "albert_tf.run_squad_v1": "albert_tf.run_finetuning --task=squad1",
    "albert_tf.run_squad_v2": "albert_tf.run_finetuning --task=squad2",
}

_ONE_IMPORTS = threading.RLock()

__all__ = list(_PUBLIC_NAMES)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC_NAMES:
        raise AttributeError(f"module 'albert_tf' has no attribute {name!r}")
    # Threads that enter Keras at different places would wait for one another.
    with _ONE_IMPORTS, tensorflow_needs.errors_name(f"albert_tf.{name}"):
        value = getattr(importlib.import_module(_PUBLIC_NAMES[name]), name)
    if "keras" in sys.modules:
        _register_with_keras()
    return value


@wrapt.when_imported("keras")
def _register_with_keras(_: types.ModuleType | None = None) -> None:
    """Lets Keras find every class of ours in a `.keras` file, which names them, in any order.

    A module of the model side that is being imported just now will import the others itself, or was
    asked for by `__getattr__`, which comes here when that is done. `pipelines` import none of them.
    """
    ours = (module for name, module in list(sys.modules.items()) if name.startswith("albert_tf."))
    unfinished = [m for m in ours if getattr(m.__spec__, "_initializing", False)]
    if all(module.__name__.startswith("albert_tf.pipelines.") for module in unfinished):
        models = ("model.language_models", "model.task_models", "inference.text_encoder")
        for name in (*models, "training.optimizers"):
            importlib.import_module(f"albert_tf.{name}")


class _MovedPaths(importlib.abc.MetaPathFinder):
    """Tells whoever imports a path of old the public name that took its place."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> None:
        """Raises `ImportError` for a path that has moved, and finds nothing."""
        if fullname in _SCRIPTS_OF_GOOGLE:
            raise ImportError(f"here it is python -m {_SCRIPTS_OF_GOOGLE[fullname]}")
        if fullname in _MOVED:
            raise ImportError(
                f"{fullname} is not public; use `from albert_tf import {_MOVED[fullname]}`"
            )


# Before all others: a checkout of old that is installed, too, would answer.
sys.meta_path.insert(0, _MovedPaths())


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC_NAMES])
