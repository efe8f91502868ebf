"""One process of a tiny run on some devices, of several workers where TF_CONFIG says.

It starts as a fork of a process that has imported TensorFlow and used nothing of it yet: of a run
so short, the imports are the longest part.
"""

import json
import os
import pathlib
import sys

import tensorflow as tf

from albert_tf import command_line, stop_signals
from albert_tf.finetuning import finetune, pictures
from albert_tf.pretraining import learning_curve, pretrain
from albert_tf.training import workers


def run(devices: int, settings_file: str, tf_config: str, log_file: str) -> None:
    """Runs, and ends with the exit code of a command.

    Args:
        devices: how many this process has.
        settings_file: JSON of the settings of `FinetuningRun` by name, if it names a task, or else
            of `PretrainingRun`.
        tf_config: what TF_CONFIG holds; empty for one process.
        log_file: takes what is printed.
    """
    pictures._png = lambda picture: b"PNG"  # which would take a third of so short a run
    learning_curve.draw = lambda log, path, metrics: path.write_bytes(b"PNG")
    with open(log_file, "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if tf_config:
        os.environ["TF_CONFIG"] = tf_config
    values = json.loads(pathlib.Path(settings_file).read_text())
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * devices
    )
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if devices > 1:  # of one process: a worker has one CPU
        values["distribute"] = "mirrored"

    try:
        with stop_signals.handled():
            if "task" in values:
                settings = finetune.FinetuningRun.of(**values)
                finetune.finetune(settings, report=command_line.print_now)
            else:
                settings = pretrain.PretrainingRun.of(**values)
                pretrain.pretrain(settings, report=command_line.print_now)
    except stop_signals.Stopped as stopped:
        print(f"stopped: {stopped}", flush=True)
        sys.exit(stopped.exit_code)
    except (ValueError, workers.WorkerLostError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)
