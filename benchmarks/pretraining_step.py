"""Tokens per second of one pretraining step: ours beside KerasHub's ALBERT, in one run.

    pip install keras-hub~=0.32.0
    python benchmarks/pretraining_step.py                 # ALBERT-base, B=8 L=512
    python benchmarks/pretraining_step.py --size=mini     # ALBERT-mini, B=64 L=64 and B=32 L=128
    KERAS_BACKEND=jax python benchmarks/pretraining_step.py --ours_only --batch_size=32

A step is forward, backward, global-norm clip and AdamW, as `model.fit` runs it. Both sides get the
same sizes, no dropout, the same random ids and the same number of predictions. Ours also has the
sentence-order head; KerasHub's task has the masked-LM head only. The sides take turns step by step,
so that a busy machine slows both; the median step counts. On JAX the batch is a dict of NumPy
arrays and `train_on_batch` takes the step; the time of the first one, with its compilation, is
printed, too.

Letters: B batch, L sequence length, P prediction slots.
"""

import dataclasses
import os
import statistics
import time

# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402

from albert_tf.config import AlbertConfig  # noqa: E402
from albert_tf.model.language_models import AlbertForPretraining  # noqa: E402
from albert_tf.training.optimizers import AdamW  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_enum("size", "base", ["base", "mini"], "Which table to measure.")
flags.DEFINE_integer("steps", 5, "Timed steps a side.")
flags.DEFINE_list("policies", ["float32", "mixed_bfloat16"], "Keras dtype policies.")
flags.DEFINE_bool("ours_only", False, "Leave KerasHub out.")
flags.DEFINE_integer("batch_size", None, "B in place of a table's.", lower_bound=1)
flags.DEFINE_integer("length", None, "L in place of a table's.", lower_bound=1)


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of a table."""

    preset: str
    batch_size: int
    length: int
    predictions: int


CASES = {
    "base": [Case("albert_base_v2", 8, 512, 77)],
    "mini": [Case("albert_mini", 64, 64, 10), Case("albert_mini", 32, 128, 20)],
}


def main(_):
    """Prints one table."""
    header = f"{'model':16}{'policy':18}{'B':>4}{'L':>5}{'first':>9}{'ours':>9}"
    print(header if FLAGS.ours_only else f"{header}{'KerasHub':>10}{'ratio':>7}")
    for case in CASES[FLAGS.size]:
        case = dataclasses.replace(
            case,
            batch_size=FLAGS.batch_size or case.batch_size,
            length=FLAGS.length or case.length,
        )
        for policy in FLAGS.policies:
            keras.backend.clear_session()
            sides = [make_our_step(case, policy)]
            if not FLAGS.ours_only:
                sides.append(make_keras_hub_step(case, policy))
            first, seconds = time_in_turns(sides, FLAGS.steps)
            speeds = [case.batch_size * case.length / second for second in seconds]
            cells = [f"{first:8.1f}s{speeds[0]:9.0f}"]
            if len(speeds) > 1:
                cells += [f"{speeds[1]:10.0f}", f"{speeds[0] / speeds[1]:7.2f}"]
            print(
                f"{case.preset:16}{policy:18}{case.batch_size:4}{case.length:5}{''.join(cells)}",
                flush=True,
            )


def make_batch(case, vocab_size):
    """Returns random ids as our batch dict."""
    generator = np.random.default_rng(0)
    size, slots = (case.batch_size, case.length), (case.batch_size, case.predictions)
    return {
        "input_ids": generator.integers(5, vocab_size, size, dtype=np.int32),
        "input_mask": np.ones(size, np.int32),
        "segment_ids": generator.integers(0, 2, size, dtype=np.int32),
        "masked_lm_positions": generator.integers(1, case.length, slots, dtype=np.int32),
        "masked_lm_ids": generator.integers(5, vocab_size, slots, dtype=np.int32),
        "masked_lm_weights": np.ones(slots, np.float32),
        "sentence_order_label": generator.integers(0, 2, case.batch_size, dtype=np.int32),
    }


def make_our_step(case, policy):
    """Returns a function that takes one step of `AlbertForPretraining`."""
    config = AlbertConfig.from_preset(case.preset)
    model = AlbertForPretraining(config, dtype=policy)
    model.compile(AdamW(1e-4))
    return make_step(model, make_batch(case, config.vocab_size))


def make_keras_hub_step(case, policy):
    """Returns a function that takes one step of KerasHub's `AlbertMaskedLM`."""
    import keras_hub

    config = AlbertConfig.from_preset(case.preset)
    batch = make_batch(case, config.vocab_size)
    backbone = keras_hub.models.AlbertBackbone(
        vocabulary_size=config.vocab_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        embedding_dim=config.embedding_size,
        hidden_dim=config.hidden_size,
        intermediate_dim=config.intermediate_size,
        dropout=config.hidden_dropout_prob,
        max_sequence_length=config.max_position_embeddings,
        dtype=policy,
    )
    model = keras_hub.models.AlbertMaskedLM(backbone=backbone, preprocessor=None)
    model.compile(
        keras.optimizers.AdamW(1e-4, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy()],
        jit_compile=False,
    )
    inputs = {
        "token_ids": batch["input_ids"],
        "padding_mask": batch["input_mask"],
        "segment_ids": batch["segment_ids"],
        "mask_positions": batch["masked_lm_positions"],
    }
    return make_step(model, (inputs, batch["masked_lm_ids"], batch["masked_lm_weights"]))


def make_step(model, batch):
    """Returns a function that trains a compiled model on `batch` once, and waits for it."""
    if keras.backend.backend() != "tensorflow":
        return lambda: float(model.train_on_batch(batch)[0])
    import tensorflow as tf

    iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()

    def step():
        logs = model.train_function(iterator)
        return float(tf.nest.flatten(logs)[0])

    return step


def time_in_turns(steps, rounds):
    """Returns the first one's first seconds, and the median seconds of each after two rounds."""
    seconds = [[] for _ in steps]
    for _ in range(rounds + 2):
        for step, taken in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    return seconds[0][0], [statistics.median(taken[2:]) for taken in seconds]


if __name__ == "__main__":
    app.run(main)
