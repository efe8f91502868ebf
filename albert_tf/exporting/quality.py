"""What an export's precision costs on a real task: its metrics, against those in float32."""

import dataclasses
import os
from typing import Any

from albert_tf.checkpoints import model_directory, model_kinds
from albert_tf.exporting.signatures import LoadedModel
from albert_tf.inference import batch_prediction
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.tasks import table

_ROWS_AT_A_TIME = 64


def measure(loaded: LoadedModel, model_dir: str | os.PathLike, **where: Any) -> dict[str, Any]:
    """Returns what a model reaches on held-out data, exported and as it was trained.

    Args:
        loaded: the model, whose weights are those of the export.
        model_dir: the directory that it was loaded from, fine-tuned here.
        where: fields of `TaskOptions` that say where the data lies.

    Returns:
        {"task", "splits": {name: {"examples", "float32": {metric: value}, precision: the same}}}.

    Raises:
        ValueError: if the directory does not say what it was fine-tuned for, or the data is not
            that task's.
    """
    notes = model_kinds.read_notes(model_dir)
    if notes.task is None:
        raise ValueError(
            f"{model_dir} must say what it was fine-tuned for, in {model_kinds.TASK_FILE}, "
            "for its quality to be measured. Received: no such task"
        )
    if model_kinds.read_kind(model_dir) == "embedding":
        raise ValueError(
            "`dev_file` does not go with models for embeddings: run_finetuning --train=false "
            f"--task=embedding measures them. Received: {model_dir}"
        )
    values = {n: value for n, value in dataclasses.asdict(notes).items() if value is not None}
    names = values.keys() & table.TaskOptions.__dataclass_fields__.keys()
    options = table.TaskOptions(**{name: values[name] for name in names}, **where)
    task = table.make_task(notes.task, options, InputProblems())
    task.restore(notes, model_directory.read_labels(model_dir))
    exported = loaded.in_process.model
    as_trained = type(exported).from_pretrained(model_dir)
    predict = {"float32": batch_prediction.make_predict(as_trained)}
    predict[loaded.settings.precision] = batch_prediction.make_predict(exported)
    splits = {}
    for split in task.dev_splits:
        examples = task.read(split)
        encode, arguments = task.encoder(training=False)
        encoded = encode(examples, loaded.in_process.tokenizer, **arguments)
        splits[split] = {"examples": len(examples)}
        for name, run in predict.items():
            outputs = run(encoded, _ROWS_AT_A_TIME, task.options.max_seq_length)
            splits[split][name] = task.score(examples, task.predict(examples, encoded, outputs))
    if not splits:
        raise ValueError(f"`dev_file` or `data_dir` must hold data of {task.name}. Received: none")
    return {"task": notes.task, "splits": splits}
