"""Makes `golden/`: tiny models of transformers and KerasHub, and what these compute with them.

    python tests/testdata/make_golden.py

Needs the extra [oracle]. `tests/checkpoints/test_golden.py` reads the result, so that `make test`
compares with other libraries without having them. The same versions give the same bytes; the files
are of transformers 5.24, PyTorch 2.13 and KerasHub 0.32.
"""

import io
import pathlib
import pickle
import pickletools
import shutil

import keras
import keras_hub
import numpy as np
import torch
import transformers

GOLDEN = pathlib.Path(__file__).parent / "golden"
SIZES = {
    "vocab_size": 40,
    "embedding_size": 4,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}
LABELS = {"id2label": {0: "no", 1: "perhaps", 2: "yes"}}
CLASSES = (
    "AlbertForPreTraining",
    "AlbertForMaskedLM",
    "AlbertModel",
    "AlbertForSequenceClassification",
    "AlbertForTokenClassification",
    "AlbertForQuestionAnswering",
    "AlbertForMultipleChoice",
)


def main():
    """Writes the directories and `expected.npz`."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    batch = make_batch()
    expected = {f"batch/{name}": value for name, value in batch.items()}
    for name in CLASSES:
        model = make_model(name)
        model.save_pretrained(GOLDEN / name)
        outputs = model(**inputs_of(batch, choices=3 if "Choice" in name else None))
        for key, value in outputs.items():
            expected[f"{name}/{key}"] = value.detach().numpy()
        if name == "AlbertForPreTraining":
            save_older_forms(model)
            expected |= look_inside(model, batch)
    expected |= make_keras_hub(batch)
    np.savez_compressed(GOLDEN / "expected.npz", **expected)


def make_model(name):
    """Returns a model whose biases and layer normalisations are not 0 and 1."""
    torch.manual_seed(0)
    labels = LABELS if "Classification" in name else {}
    config = transformers.AlbertConfig(**SIZES, **labels, classifier_dropout_prob=0.0)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def make_batch():
    """Returns ids with padding and two segments, words to predict and orders."""
    generator = np.random.default_rng(0)
    ids = generator.integers(5, SIZES["vocab_size"], (2, 10)).astype(np.int32)
    mask, segments = np.ones_like(ids), np.zeros_like(ids)
    mask[0, -3:] = 0
    segments[:, 5:] = 1
    return {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": segments,
        "masked_lm_positions": np.array([[1, 4, 5], [2, 3, 9]], np.int32),
        "masked_lm_ids": generator.integers(5, SIZES["vocab_size"], (2, 3)).astype(np.int32),
        "masked_lm_weights": np.ones((2, 3), np.float32),
        "sentence_order_label": np.array([0, 1], np.int32),
    }


def inputs_of(batch, choices=None):
    """Returns the batch in the words of transformers; each choice shifts the words by one."""
    arrays = [batch[name].astype(np.int64) for name in ("input_ids", "input_mask", "segment_ids")]
    if choices is not None:
        arrays = [np.stack([array] * choices, axis=1) for array in arrays]
        arrays[0] = (arrays[0] + np.arange(choices)[None, :, None]) % SIZES["vocab_size"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: torch.tensor(array) for name, array in zip(names, arrays, strict=True)}


def save_older_forms(model):
    """Writes the same weights as the older versions of transformers did."""
    model.save_pretrained(GOLDEN / "sharded", max_shard_size="8KB")
    for form in ("zip", "legacy"):
        (GOLDEN / form).mkdir()
        shutil.copy(GOLDEN / "AlbertForPreTraining" / "config.json", GOLDEN / form)
        torch.save(
            model.state_dict(),
            GOLDEN / form / "pytorch_model.bin",
            _use_new_zipfile_serialization=form == "zip",
        )
    number_storages(GOLDEN / "legacy" / "pytorch_model.bin")


def number_storages(path):
    """Gives the storages of a legacy file numbers for names, in the order of the tensors.

    PyTorch names and sorts them by their addresses, which differ from run to run. Of the five
    pickles that the file begins with, the fourth has the tensors and the fifth the names; float32
    storages follow, each after its count.
    """
    data = path.read_bytes()
    stream, ends = io.BytesIO(data), []
    for _ in range(5):
        list(pickletools.genops(stream))
        ends.append(stream.tell())
    before, tensors = data[: ends[2]], data[ends[2] : ends[3]]
    storages = {}
    for name in pickle.loads(data[ends[3] : ends[4]]):
        count = stream.read(8)
        storages[name] = count + stream.read(4 * int.from_bytes(count, "little"))
    in_order = sorted(storages, key=lambda name: tensors.index(as_opcode(name)))
    numbers = [f"{number:03d}" for number in range(len(in_order))]
    for name, number in zip(in_order, numbers, strict=True):
        tensors = tensors.replace(as_opcode(name), as_opcode(number))
    names = pickle.dumps(numbers, protocol=2)
    path.write_bytes(before + tensors + names + b"".join(storages[name] for name in in_order))


def as_opcode(text):
    """Returns a text as a pickle has it: BINUNICODE, its length, its bytes."""
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def look_inside(model, batch):
    """Returns the hidden states of all layers, the pretraining loss and its gradients."""
    labels = np.full(batch["input_ids"].shape, -100, np.int64)
    np.put_along_axis(labels, batch["masked_lm_positions"], batch["masked_lm_ids"], axis=1)
    outputs = model(
        **inputs_of(batch),
        labels=torch.tensor(labels),
        sentence_order_label=torch.tensor(batch["sentence_order_label"].astype(np.int64)),
        output_hidden_states=True,
    )
    outputs.loss.backward()
    found = {"inside/loss": outputs.loss.detach().numpy()}
    # Inner blocks are counted in some versions and not in others.
    inner = SIZES["inner_group_num"]
    states = outputs.hidden_states
    states = states[::inner] if len(states) > SIZES["num_hidden_layers"] + 1 else states
    for number, state in enumerate(states):
        found[f"inside/layer_{number}"] = state.detach().numpy()
    for name, parameter in model.named_parameters():
        found[f"gradients/{name}"] = parameter.grad.numpy()
    return found


def make_keras_hub(batch):
    """Writes a preset and returns what KerasHub computes with it."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.AlbertBackbone(
        vocabulary_size=SIZES["vocab_size"],
        num_layers=SIZES["num_hidden_layers"],
        num_heads=SIZES["num_attention_heads"],
        num_groups=SIZES["num_hidden_groups"],
        num_inner_repetitions=SIZES["inner_group_num"],
        embedding_dim=SIZES["embedding_size"],
        hidden_dim=SIZES["hidden_size"],
        intermediate_dim=SIZES["intermediate_size"],
        max_sequence_length=SIZES["max_position_embeddings"],
    )
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(weight + generator.normal(0, 0.2, weight.shape))
    backbone.save_to_preset(str(GOLDEN / "keras_hub"))
    (GOLDEN / "keras_hub" / "metadata.json").unlink()  # the day it was made
    names = {"input_ids": "token_ids", "input_mask": "padding_mask", "segment_ids": "segment_ids"}
    outputs = backbone({theirs: batch[ours] for ours, theirs in names.items()})
    return {f"keras_hub/{name}": np.asarray(value) for name, value in outputs.items()}


if __name__ == "__main__":
    main()
