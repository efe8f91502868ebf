"""Runs one process of a tiny run on some devices; of several workers where TF_CONFIG says.

    python distributed_run.py DEVICES SETTINGS.json

SETTINGS has those of `FinetuningRun` by name, if it names a task, or else of `PretrainingRun`.
"""

import json
import os
import pathlib
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf


def main() -> None:
    """Runs."""
    devices, values = int(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * devices
    )
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if devices > 1:  # of one process: a worker has one CPU
        values["distribute"] = "mirrored"

    from albert_tf import command_line, stop_signals
    from albert_tf.finetuning import finetune
    from albert_tf.pretraining import pretrain
    from albert_tf.training import workers

    try:
        with stop_signals.handled():
            if "task" in values:
                run = finetune.FinetuningRun.of(**values)
                finetune.finetune(run, report=command_line.print_now)
            else:
                run = pretrain.PretrainingRun.of(**values)
                pretrain.pretrain(run, report=command_line.print_now)
    except stop_signals.Stopped as stopped:
        print(f"stopped: {stopped}", flush=True)
        sys.exit(stopped.exit_code)
    except (ValueError, workers.WorkerLostError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)


if __name__ == "__main__":
    main()
