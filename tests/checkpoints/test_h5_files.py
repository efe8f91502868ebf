"""HDF5 files: the layouts of transformers and KerasHub, and what is refused in untrusted ones."""

import h5py
import ml_dtypes
import numpy as np
import pytest

from albert_tf.checkpoints import h5_files
from albert_tf.checkpoints.stored_tensors import CheckpointError

# The leaves of one transformer layer of KerasHub, with its group inside the file.
ENCODER = {
    "self_attention_layer/query/kernel": "_self_attention_layer/query_dense/vars/0",
    "self_attention_layer/query/bias": "_self_attention_layer/query_dense/vars/1",
    "self_attention_layer/key/kernel": "_self_attention_layer/key_dense/vars/0",
    "self_attention_layer/key/bias": "_self_attention_layer/key_dense/vars/1",
    "self_attention_layer/value/kernel": "_self_attention_layer/value_dense/vars/0",
    "self_attention_layer/value/bias": "_self_attention_layer/value_dense/vars/1",
    "self_attention_layer/attention_output/kernel": "_self_attention_layer/output_dense/vars/0",
    "self_attention_layer/attention_output/bias": "_self_attention_layer/output_dense/vars/1",
    "self_attention_layer_norm/gamma": "_self_attention_layer_norm/vars/0",
    "self_attention_layer_norm/beta": "_self_attention_layer_norm/vars/1",
    "feedforward_layer_norm/gamma": "_feedforward_layer_norm/vars/0",
    "feedforward_layer_norm/beta": "_feedforward_layer_norm/vars/1",
    "feedforward_intermediate_dense/kernel": "_feedforward_intermediate_dense/vars/0",
    "feedforward_intermediate_dense/bias": "_feedforward_intermediate_dense/vars/1",
    "feedforward_output_dense/kernel": "_feedforward_output_dense/vars/0",
    "feedforward_output_dense/bias": "_feedforward_output_dense/vars/1",
}
BACKBONE = {
    "token_embedding/embeddings": "layers/reversible_embedding/vars/0",
    "position_embedding/embeddings": "layers/position_embedding/vars/0",
    "segment_embedding/embeddings": "layers/embedding/vars/0",
    "embeddings_layer_norm/gamma": "layers/layer_normalization/vars/0",
    "embeddings_layer_norm/beta": "layers/layer_normalization/vars/1",
    "embedding_projection/kernel": "layers/dense/vars/0",
    "embedding_projection/bias": "layers/dense/vars/1",
    "pooled_dense/kernel": "layers/dense_1/vars/0",
    "pooled_dense/bias": "layers/dense_1/vars/1",
}
MASKED_LM = {
    "mlm_head/output_bias": "layers/masked_lm_head/vars/0",
    "mlm_head/intermediate_dense/kernel": "layers/masked_lm_head/_intermediate_dense/vars/0",
    "mlm_head/intermediate_dense/bias": "layers/masked_lm_head/_intermediate_dense/vars/1",
    "mlm_head/intermediate_layer_norm/gamma": (
        "layers/masked_lm_head/_intermediate_layer_norm/vars/0"
    ),
    "mlm_head/intermediate_layer_norm/beta": (
        "layers/masked_lm_head/_intermediate_layer_norm/vars/1"
    ),
}
CLASSIFIER = {"logits/kernel": "layers/dense/vars/0", "logits/bias": "layers/dense/vars/1"}


def backbone(encoders=("group_0_inner_layer_0",)):
    """Returns {KerasHub's name: path} of a backbone with transformer layers of these names."""
    layout = dict(BACKBONE)
    for i, encoder in enumerate(encoders):
        group = "layers/transformer_encoder" + (f"_{i}" if i else "")
        layout |= {f"{encoder}/{name}": f"{group}/{place}" for name, place in ENCODER.items()}
    return layout


def nested(layout):
    """Returns a backbone's {name: path} where it is a layer of a model with a head."""
    return {name: f"layers/albert_backbone/{place}" for name, place in layout.items()}


def write(path, places, layer_names=None):
    """Writes an array [2, 3] at each path, and the names of layers as Keras does."""
    with h5py.File(path, "w") as file:
        for i, place in enumerate(places):
            file[place] = np.full((2, 3), i, np.float32)
        for group, name in (layer_names or {}).items():
            file.require_group(f"{group}/vars").attrs["name"] = name
    return path


def edit(path, change):
    """Writes a file of one sound tensor and what `change(file)` adds."""
    with h5py.File(path, "w") as file:
        file["sound"] = np.ones(3, np.float32)
        change(file)
    return path


def read_all(path):
    return {name: tensor.read() for name, tensor in h5_files.open_h5(path).items()}


def test_tensors_of_transformers_keep_the_names_of_the_file(tmp_path):
    # As `TFAlbertForPreTraining.save_pretrained` of transformers 4 lays it out.
    words = "albert/tf_albert_for_pre_training/albert/embeddings/word_embeddings/weight:0"
    bias = "predictions/tf_albert_for_pre_training/predictions/bias:0"
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"albert", b"predictions"])
        file.create_group("albert").attrs["weight_names"] = np.array([words[7:].encode()])
        file[words] = np.arange(6, dtype=np.float32).reshape(3, 2)
        file[bias] = np.float32([1, 2, 3])
        file.create_group("top_level_model_weights")
    tensors = h5_files.open_h5(tmp_path / "tf_model.h5")
    assert tensors.keys() == {words, bias}
    assert (tensors[words].shape, tensors[words].dtype) == ((3, 2), "float32")
    np.testing.assert_array_equal(tensors[words].read(), [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint32", "bool", ">f4"])
def test_numbers_of_every_kind_are_read_exactly(tmp_path, dtype):
    value = np.arange(4).reshape(2, 2).astype(dtype)
    edit(tmp_path / "a.h5", lambda file: file.create_dataset("x", data=value))
    tensor = h5_files.open_h5(tmp_path / "a.h5")["x"]
    assert tensor.dtype == str(np.dtype(dtype))
    np.testing.assert_array_equal(tensor.read(), value)


def test_bfloat16_as_keras_stores_it_is_read_as_float32(tmp_path):
    def change(file):
        for name, value in (("x", [1.5, -3.0]), ("scalar", 2.5)):
            file.create_dataset(name, data=np.array(value, ml_dtypes.bfloat16))
            file[name].attrs["dtype"] = "bfloat16"

    tensors = h5_files.open_h5(edit(tmp_path / "a.h5", change))
    assert tensors["x"].dtype == "bfloat16"
    assert tensors["x"].read().dtype == np.float32
    np.testing.assert_array_equal(tensors["x"].read(), [1.5, -3.0])
    np.testing.assert_array_equal(tensors["scalar"].read(), 2.5)


def test_compressed_and_empty_tensors_are_read(tmp_path):
    zeros, none = np.zeros((100, 100), np.float32), np.zeros((0, 4), np.float32)

    def change(file):
        file.create_dataset("gzip", data=zeros, compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("lzf", data=zeros, compression="lzf")
        file["none"] = none

    values = read_all(edit(tmp_path / "a.h5", change))
    np.testing.assert_array_equal(values["gzip"], zeros)
    np.testing.assert_array_equal(values["lzf"], zeros)
    np.testing.assert_array_equal(values["none"], none)


def test_file_is_free_between_opening_and_reading(tmp_path):
    path = edit(tmp_path / "a.h5", lambda file: None)
    tensor = h5_files.open_h5(path)["sound"]
    with h5py.File(path, "a") as file:
        file["more"] = 1.0
    np.testing.assert_array_equal(tensor.read(), np.ones(3))
    path.unlink()
    with pytest.raises(CheckpointError, match="a.h5 cannot be read"):
        tensor.read()


@pytest.mark.parametrize("name", ["absent.h5", "other.h5", "."])
def test_what_is_no_h5_file_is_named(tmp_path, name):
    (tmp_path / "other.h5").write_bytes(b"something else" * 100)
    for function in (h5_files.open_h5, h5_files.keras_hub_names):
        with pytest.raises(CheckpointError, match="cannot be read as HDF5"):
            function(tmp_path / name)


def add_external_link(file):
    file["x"] = h5py.ExternalLink("/etc/hostname", "/x")


def add_soft_link(file):
    file["x"] = h5py.SoftLink("/sound")


def add_external_storage(file):
    file.create_dataset("x", (3,), np.float32, external=[("/etc/hostname", 0, 12)])


def add_virtual_dataset(file):
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (3,))
    file.create_virtual_dataset("x", layout)


def add_loop(file):
    file.create_group("a")["x"] = file["/"]


def add_group_twice(file):
    file["b"] = file.create_group("a")


def add_type(file):
    file["x"] = np.dtype("f4")


@pytest.mark.parametrize(
    "change",
    [
        *(add_external_link, add_soft_link, add_external_storage, add_virtual_dataset),
        *(add_loop, add_group_twice, add_type),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path, change):
    path = edit(tmp_path / "a.h5", change)
    with pytest.raises(CheckpointError, match="a.h5 cannot be read.*Received: "):
        h5_files.open_h5(path)


@pytest.mark.parametrize(
    "value",
    [
        *("text", b"bytes", np.array([b"ab"]), np.array((1, 2.0), [("a", "i4"), ("b", "f4")])),
        *(np.void(b"abc"), np.complex64(1j), h5py.Empty("f4")),
    ],
    ids=["text", "bytes", "texts", "record", "opaque", "complex", "empty"],
)
def test_what_is_no_number_is_refused(tmp_path, value):
    path = edit(tmp_path / "a.h5", lambda file: file.create_dataset("bad", data=value))
    with pytest.raises(CheckpointError, match="a.h5 cannot be read.*Received: bad"):
        h5_files.open_h5(path)


@pytest.mark.parametrize("dtype", [h5py.ref_dtype, h5py.vlen_dtype(np.float32)])
def test_references_and_ragged_arrays_are_refused(tmp_path, dtype):
    path = edit(tmp_path / "a.h5", lambda file: file.create_dataset("bad", (2,), dtype))
    with pytest.raises(CheckpointError, match="a.h5 cannot be read.*Received: bad"):
        h5_files.open_h5(path)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (10**6, 10**6)},
        {"shape": (10**6, 10**6), "chunks": (1000, 1000), "compression": "gzip"},
        {"shape": (1,), "maxshape": (None,), "chunks": (10**8,), "compression": "gzip"},
    ],
    ids=["unwritten", "few chunks", "large chunk"],
)
def test_announced_sizes_that_the_file_does_not_hold_are_refused(tmp_path, options):
    path = edit(tmp_path / "a.h5", lambda file: file.create_dataset("bad", dtype="f4", **options))
    with pytest.raises(CheckpointError, match="expected at most the 0 bytes"):
        h5_files.open_h5(path)


def test_partly_written_tensor_is_refused(tmp_path):
    def change(file):
        options = {"chunks": (100, 100), "compression": "gzip"}
        file.create_dataset("bad", (10**5, 10**5), "f4", **options)[:100, :100] = 1.0

    with pytest.raises(CheckpointError, match="bytes that are there of bad"):
        h5_files.open_h5(edit(tmp_path / "a.h5", change))


def test_filter_that_may_be_a_program_is_refused(tmp_path):
    path = edit(tmp_path / "a.h5", lambda f: f.create_dataset("bad", (4,), "i4", scaleoffset=0))
    with pytest.raises(CheckpointError, match="bad with the filters"):
        h5_files.open_h5(path)


@pytest.mark.parametrize(
    "layout",
    [
        backbone(),
        nested(backbone()) | MASKED_LM,
        nested(backbone()) | CLASSIFIER,
        MASKED_LM,
        CLASSIFIER,
    ],
    ids=["backbone", "masked lm", "classifier", "masked lm task", "classifier task"],
)
def test_weights_of_keras_hub_get_their_names(tmp_path, layout):
    path = write(tmp_path / "a.weights.h5", [*layout.values(), "optimizer/vars/0"])
    assert h5_files.keras_hub_names(path) == layout


def test_groups_and_inner_layers_are_told_apart_by_the_names_in_the_file(tmp_path):
    # Not in the order of the numbers, which depend on what Keras met first.
    encoders = [f"group_{g}_inner_layer_{i}" for g, i in ((1, 0), (0, 1), (0, 0), (1, 1))]
    groups = [f"layers/transformer_encoder{suffix}" for suffix in ("", "_1", "_2", "_3")]
    for where in (dict, nested):
        layout = where(backbone(encoders))
        names = dict(zip(where(dict(enumerate(groups))).values(), encoders, strict=True))
        path = write(tmp_path / "a.weights.h5", layout.values(), names)
        assert h5_files.keras_hub_names(path) == layout


def test_layouts_of_older_keras_are_known(tmp_path):
    layout = {
        name: place.replace("layers/", "_layer_checkpoint_dependencies/", 1).replace(
            "_layer/query_dense", "_layer/_query_dense"
        )
        for name, place in backbone().items()
    }
    path = write(tmp_path / "a.weights.h5", layout.values())
    assert h5_files.keras_hub_names(path) == layout


@pytest.mark.parametrize(
    "names", [None, {"layers/transformer_encoder": "group_0_inner_layer_0"}, "wrong"]
)
def test_several_layers_without_names_are_refused(tmp_path, names):
    if names == "wrong":
        groups = ("layers/transformer_encoder", "layers/transformer_encoder_1")
        names = {group: "encoder" for group in groups}
    path = write(tmp_path / "a.weights.h5", backbone(["a", "b"]).values(), names)
    with pytest.raises(CheckpointError, match="a.weights.h5.*group_G_inner_layer_I.*encoder_1'"):
        h5_files.keras_hub_names(path)


def test_layers_of_one_name_are_refused(tmp_path):
    groups = ("layers/transformer_encoder", "layers/transformer_encoder_1")
    names = {group: "group_0_inner_layer_0" for group in groups}
    path = write(tmp_path / "a.weights.h5", backbone(["a", "b"]).values(), names)
    with pytest.raises(CheckpointError, match="each once"):
        h5_files.keras_hub_names(path)


@pytest.mark.parametrize(
    "place",
    [
        "layers/dense_2/vars/0",
        "layers/dense/vars/2",
        "layers/transformer_encoder/_adapter/vars/0",
        "layers/reversible_embedding/vars/1",
        "albert/tf_albert_model/albert/pooler/kernel:0",
    ],
)
def test_weights_that_keras_hub_does_not_have_are_named(tmp_path, place):
    path = write(tmp_path / "a.weights.h5", [*backbone().values(), place])
    with pytest.raises(CheckpointError, match=f"only weights of KerasHub's.*Received: {place}"):
        h5_files.keras_hub_names(path)


def damaged_copies(content, count, seed):
    """Yields truncated copies and copies with one changed byte."""
    generator = np.random.default_rng(seed)
    for position in generator.integers(0, len(content), count):
        yield content[:position]
        changed = bytearray(content)
        changed[position] ^= int(generator.integers(1, 256))
        yield bytes(changed)


@pytest.mark.slow
def test_damaged_files_are_read_or_refused_by_name(tmp_path):
    layout = {k: v for k, v in backbone().items() if "inner" not in k or "query" in k}
    path = write(tmp_path / "a.weights.h5", layout.values(), {"layers/dense": "projection"})
    refused = 0
    for content in damaged_copies(path.read_bytes(), 200, seed=0):
        (tmp_path / "b.h5").write_bytes(content)
        for function in (read_all, h5_files.keras_hub_names):
            try:
                function(tmp_path / "b.h5")
            except CheckpointError as error:
                refused += 1
                assert "b.h5" in str(error)
    assert refused > 400


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["backbone", "masked_lm", "classifier", "preset"])
@pytest.mark.parametrize("groups, inner_layers", [(1, 1), (2, 2)])
def test_keras_hub_files_hold_its_variables_under_their_names(tmp_path, kind, groups, inner_layers):
    keras_hub = pytest.importorskip("keras_hub")
    model = keras_hub.models.AlbertBackbone(
        vocabulary_size=40,
        num_layers=4,
        num_heads=2,
        embedding_dim=8,
        hidden_dim=8,
        intermediate_dim=16,
        num_groups=groups,
        num_inner_repetitions=inner_layers,
        max_sequence_length=12,
    )
    if kind in ("masked_lm", "preset"):
        model = keras_hub.models.AlbertMaskedLM(backbone=model, preprocessor=None)
    if kind == "classifier":
        model = keras_hub.models.AlbertTextClassifier(
            backbone=model, num_classes=3, preprocessor=None
        )
    generator = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(generator.normal(size=variable.shape))
    if kind == "preset":
        model.save_to_preset(str(tmp_path))
        paths = [tmp_path / "model.weights.h5", tmp_path / "task.weights.h5"]
    else:
        model.save_weights(tmp_path / "a.weights.h5")
        paths = [tmp_path / "a.weights.h5"]
    values = {}
    for path in paths:
        tensors = h5_files.open_h5(path)
        values |= {k: tensors[v].read() for k, v in h5_files.keras_hub_names(path).items()}
    assert values.keys() == {variable.path for variable in model.weights}
    for variable in model.weights:
        np.testing.assert_array_equal(values[variable.path], np.asarray(variable.value))
