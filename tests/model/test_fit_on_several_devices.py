"""`fit` under tf.distribute, in the ways of Keras beside a plain step (that is in the battery)."""

import os
import pathlib
import subprocess
import sys
import types

import pytest
import tensorflow as tf
from samples import tiny_config

from albert_tf.model import task_models

TRAINED_IN_MANY_WAYS = """
import sys
sys.path.insert(0, sys.argv[1])
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_keras_battery import B, CONFIG, IDS, ROWS, assert_equal_outputs
row = ROWS[IDS.index("AlbertForPretraining")]
two_devices = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
dataset = tf.data.Dataset.from_tensor_slices({**row.inputs(), **row.labels}).repeat(4).batch(B)

def train(strategy, epochs, callbacks=(), optimizer=None, **choices):
    with strategy.scope():
        model = row.make()
        model.compile(optimizer() if optimizer else keras.optimizers.SGD(0.1), **choices)
    history = model.fit(dataset, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model.get_weights(), history

expected, _ = train(tf.distribute.get_strategy(), 3)
one_device = tf.distribute.get_strategy()
# On two devices Keras 3.15 fails with either, whatever the model.
for choices in ({"steps_per_execution": 2}, {"jit_compile": True}):
    assert_equal_outputs(train(one_device, 3, **choices)[0], expected, 1e-4)
    print(*choices, flush=True)

# The norm that is clipped is that of the whole batch's gradient, not of what each device has.
from albert_tf.training import optimizers
for name in optimizers.OPTIMIZERS:
    def optimizer():
        return optimizers.make_optimizer(
            name, optimizers.WarmupPolynomialDecay(1e-2, 9), weight_decay=0.01, beta_2=0.9,
            max_gradient_norm=0.05,
        )
    alone, _ = train(one_device, 2, optimizer=optimizer)
    assert_equal_outputs(train(two_devices, 2, optimizer=optimizer)[0], alone, 1e-3)
    print(name, flush=True)

class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

def backup():
    return keras.callbacks.BackupAndRestore(sys.argv[2])

try:
    train(two_devices, 3, [backup(), Killed()])
except KeyboardInterrupt:
    weights, history = train(two_devices, 3, [backup()])
    assert history.epoch == [2], history.epoch
    assert_equal_outputs(weights, expected, 1e-4)
    print("BackupAndRestore", flush=True)
stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1)
_, history = train(two_devices, 9, [stop])
assert len(history.epoch) == 2, history.history
print("EarlyStopping", flush=True)

# Of each of two texts twice, dropout leaves other numbers on each device.
classifier = ROWS[IDS.index("AlbertClassifier")]
with two_devices.scope():
    model = classifier.make(CONFIG.with_dropout(None, 0.5))
text = {name: tf.repeat(value[:1], 2, 0) for name, value in classifier.inputs().items()}
outputs = two_devices.run(lambda: model(text, training=True))
rows = [row for rows in two_devices.experimental_local_results(outputs) for row in rows.numpy()]
assert len({row.tobytes() for row in rows}) == 4, rows
print("dropout", flush=True)

# Scaled gradients that overflow on the second device alone: the step is skipped on both.
batch = {name: value[:4] for name, value in {**classifier.inputs(), **classifier.labels}.items()}
batch["example_weight"] = np.array([0, 0, 1, 1], np.float32)
with two_devices.scope():
    model = classifier.make(dtype="mixed_float16")
    scaled = keras.optimizers.LossScaleOptimizer(optimizers.AdamW(1e-3), initial_scale=2.0**40)
    model.compile(scaled)
before = model.get_weights()
model.fit(tf.data.Dataset.from_tensor_slices(batch).batch(4), verbose=0)
assert_equal_outputs(model.get_weights(), before, 0)
assert float(np.asarray(model.optimizer.dynamic_scale)) == 2.0**39
print("overflow", flush=True)
"""


@pytest.mark.slow
def test_two_devices_train_in_the_ways_of_keras(tmp_path):
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-c", TRAINED_IN_MANY_WAYS, str(here), str(tmp_path / "backup")]
    environment = {**os.environ, "PYTHONPATH": str(here.parents[1])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr[-3000:]
    words = {"steps_per_execution", "jit_compile", "BackupAndRestore", "EarlyStopping"}
    words |= {"dropout", "overflow"}
    words |= {"adamw", "lamb", "muon"}
    assert set(ended.stdout.split()) >= words


def test_fit_under_several_workers_names_the_commands(monkeypatch):
    spec = types.SimpleNamespace(as_dict=lambda: {"worker": ["a:1", "b:1"]})
    resolver = types.SimpleNamespace(cluster_spec=lambda: spec)
    strategy = types.SimpleNamespace(cluster_resolver=resolver)
    model = task_models.AlbertClassifier(tiny_config())
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    with pytest.raises(RuntimeError, match=r"several workers .* run_pretraining and run_fine"):
        model.fit({})
