"""TensorFlow's files: checkpoints both ways, SavedModels of three makers."""

import os
import shutil

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from samples import check_damage

from albert_tf.checkpoints import tensorflow_files
from albert_tf.checkpoints.stored_tensors import CheckpointError

v1 = tf.compat.v1

TENSORS = {
    "bert/embeddings/word_embeddings": np.arange(12, dtype=np.float32).reshape(4, 3),
    "bert/pooler/dense/bias": np.float32([np.nan, -0.0, np.inf]),
    "global_step": np.int64(125_000),
    "flags": np.array([True, False]),
    "half": np.float16([1.5, -2.0]),
    "none": np.zeros((0, 3), np.float32),
}
ANNOUNCED = {name: (np.shape(value), value.dtype.name) for name, value in TENSORS.items()}


def announced(tensors):
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def assert_same_bytes(tensors, expected):
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        assert tensors[name].read().tobytes() == value.tobytes()


@pytest.fixture
def prefix(tmp_path):
    prefix = tmp_path / "run" / "model.ckpt-best"
    tensorflow_files.write_tf1_checkpoint(prefix, TENSORS)
    return prefix


def save_with_tf1(prefix, tensors, **kwargs):
    """Saves a checkpoint by way of a graph and a Saver, as the original code does."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=value) for name, value in tensors.items()]
        session.run(v1.global_variables_initializer())
        v1.train.Saver(variables, **kwargs).save(session, str(prefix))


# --- Checkpoints ---------------------------------------------------------------------------------


def test_checkpoint_of_tensorflow_1_is_read_bit_by_bit(tmp_path):
    tensors = {name: TENSORS[name] for name in TENSORS if "bert" in name or name == "global_step"}
    save_with_tf1(tmp_path / "model.ckpt", tensors)
    assert_same_bytes(tensorflow_files.open_tf1_checkpoint(tmp_path / "model.ckpt"), tensors)


def test_checkpoint_of_version_1_is_read_bit_by_bit(tmp_path):
    tensors = {"a/w": TENSORS["bert/embeddings/word_embeddings"], "global_step": np.int64(7)}
    save_with_tf1(tmp_path / "model.ckpt", tensors, write_version=1)
    assert not (tmp_path / "model.ckpt.index").exists()
    for path in (tmp_path, tmp_path / "model.ckpt", tmp_path / "model.ckpt.meta"):
        assert_same_bytes(tensorflow_files.open_tf1_checkpoint(path), tensors)
    (tmp_path / "checkpoint").unlink()
    assert_same_bytes(tensorflow_files.open_tf1_checkpoint(tmp_path), tensors)


def test_partitioned_variable_is_read_as_a_whole(tmp_path):
    value = np.arange(20, dtype=np.float32).reshape(10, 2)
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("", partitioner=v1.fixed_size_partitioner(3), use_resource=False):
            parts = v1.get_variable("table", shape=(10, 2), initializer=v1.zeros_initializer)
        starts = np.cumsum([0] + [part.shape[0] for part in parts])
        for part, start in zip(parts, starts, strict=False):
            session.run(part.assign(value[start : start + part.shape[0]]))
        v1.train.Saver([parts]).save(session, str(tmp_path / "model.ckpt"))
    assert_same_bytes(tensorflow_files.open_tf1_checkpoint(tmp_path), {"table": value})


def test_checkpoint_of_tensorflow_2_is_read_without_its_texts(tmp_path):
    tf.train.Checkpoint(w=tf.Variable([1.0, 2.0]), note=tf.Variable("text")).write(
        str(tmp_path / "ckpt")
    )
    tensors = tensorflow_files.open_tf1_checkpoint(tmp_path / "ckpt")
    assert announced(tensors) == {"w/.ATTRIBUTES/VARIABLE_VALUE": ((2,), "float32")}


def test_bfloat16_is_read_as_float32(tmp_path):
    value = np.array([1.5, -3.0], ml_dtypes.bfloat16)
    tensorflow_files.write_tf1_checkpoint(tmp_path / "m", {"x": value, "y": value[0]})
    tensors = tensorflow_files.open_tf1_checkpoint(tmp_path)
    assert announced(tensors) == {"x": ((2,), "bfloat16"), "y": ((), "bfloat16")}
    np.testing.assert_array_equal(tensors["x"].read(), np.float32([1.5, -3.0]))
    assert tensors["y"].read().dtype == np.float32


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001", ".meta"])
def test_checkpoint_is_found_by_prefix_and_by_each_of_its_files(prefix, suffix):
    tensors = tensorflow_files.open_tf1_checkpoint(f"{prefix}{suffix}")
    assert announced(tensors) == ANNOUNCED


def test_checkpoint_is_found_by_its_folder(prefix):
    assert announced(tensorflow_files.open_tf1_checkpoint(prefix.parent)) == ANNOUNCED
    (prefix.parent / "checkpoint").unlink()
    assert announced(tensorflow_files.open_tf1_checkpoint(prefix.parent)) == ANNOUNCED


def test_prefix_that_is_also_a_folder_means_the_checkpoint(prefix):
    prefix.mkdir()
    assert announced(tensorflow_files.open_tf1_checkpoint(f"{prefix}.index")) == ANNOUNCED


def test_state_file_chooses_among_several_checkpoints(prefix):
    folder = prefix.parent
    for file in tuple(folder.glob("model.ckpt-best.*")):
        shutil.copy(file, folder / file.name.replace("best", "100"))
    assert announced(tensorflow_files.open_tf1_checkpoint(folder)) == ANNOUNCED
    (folder / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match="must hold one.*model.ckpt-100, .*model.ckpt-best"):
        tensorflow_files.open_tf1_checkpoint(folder)


@pytest.mark.parametrize("name", ["../other/model.ckpt", "/elsewhere/model.ckpt", "gone", "a\0b"])
def test_state_file_must_name_a_checkpoint_in_its_folder(prefix, name):
    shutil.copytree(prefix.parent, prefix.parent.parent / "other")
    text = f'model_checkpoint_path: "{name}"\n'
    (prefix.parent / "checkpoint").write_text(text.replace("\0", "\\000"))
    with pytest.raises(CheckpointError, match="run/checkpoint cannot be read"):
        tensorflow_files.open_tf1_checkpoint(prefix.parent)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"model_checkpoint_path", b"other: 1"])
def test_damaged_state_file_is_named(prefix, text):
    (prefix.parent / "checkpoint").write_bytes(text)
    with pytest.raises(CheckpointError, match="run/checkpoint cannot be read"):
        tensorflow_files.open_tf1_checkpoint(prefix.parent)


def test_absolute_path_in_the_state_file_may_lead_into_its_folder(prefix):
    (prefix.parent / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')
    assert announced(tensorflow_files.open_tf1_checkpoint(prefix.parent)) == ANNOUNCED


def test_index_is_enough_to_list_and_reading_names_the_missing_file(prefix):
    (prefix.parent / "model.ckpt-best.data-00000-of-00001").unlink()
    tensors = tensorflow_files.open_tf1_checkpoint(prefix)
    assert announced(tensors) == ANNOUNCED
    with pytest.raises(CheckpointError, match="model.ckpt-best.data-00000-of-00001"):
        tensors["half"].read()


def test_what_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "text").write_text("no checkpoint")
    for path in (tmp_path / "text", tmp_path / "absent", tmp_path, tmp_path / "text.index"):
        assert not tensorflow_files.is_tf1_checkpoint(path)
        with pytest.raises(CheckpointError, match=str(path).removesuffix(".index")):
            tensorflow_files.open_tf1_checkpoint(path)


def test_checkpoints_are_known_by_content(prefix):
    for path in (prefix, prefix.parent, f"{prefix}.index"):
        assert tensorflow_files.is_tf1_checkpoint(path)
    index = prefix.parent / "model.ckpt-best.index"
    index.write_bytes(index.read_bytes()[:-1])
    assert not tensorflow_files.is_tf1_checkpoint(prefix)


def test_more_announced_than_held_is_refused(prefix):
    data = prefix.parent / "model.ckpt-best.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model.ckpt-best cannot.*expected at most the \d+"):
        tensorflow_files.open_tf1_checkpoint(prefix)


def test_data_file_cut_after_opening_is_refused(prefix):
    tensors = tensorflow_files.open_tf1_checkpoint(prefix)
    (prefix.parent / "model.ckpt-best.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(CheckpointError, match="model.ckpt-best cannot be read as a checkpoint"):
        tensors["half"].read()


def test_checksums_reveal_changed_numbers(prefix):
    data = prefix.parent / "model.ckpt-best.data-00000-of-00001"
    data.write_bytes(bytes(byte ^ 1 for byte in data.read_bytes()))
    tensors = tensorflow_files.open_tf1_checkpoint(prefix)
    with pytest.raises(CheckpointError, match="model.ckpt-best cannot.*[Cc]hecksum"):
        tensors["half"].read()


# --- Writing -------------------------------------------------------------------------------------


def test_written_checkpoint_is_read_bit_by_bit(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    assert reader.get_variable_to_shape_map().keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert np.asarray(reader.get_tensor(name)).tobytes() == value.tobytes()
    assert_same_bytes(tensorflow_files.open_tf1_checkpoint(prefix), TENSORS)
    assert {path.name for path in prefix.parent.iterdir()} == {
        "checkpoint",
        "model.ckpt-best.index",
        "model.ckpt-best.data-00000-of-00001",
    }
    assert tf.train.latest_checkpoint(str(prefix.parent)) == str(prefix)


def test_saver_of_tensorflow_1_restores_what_was_written(prefix):
    name = "bert/embeddings/word_embeddings"
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable(name, shape=(4, 3))
        v1.train.Saver([variable]).restore(session, str(prefix))
        np.testing.assert_array_equal(session.run(variable), TENSORS[name])


def test_tensors_are_drawn_one_by_one_into_data_files_of_limited_size(tmp_path):
    values = {f"w{i}": np.full(100, i, np.float32) for i in range(5)}
    tensorflow_files.write_tf1_checkpoint(tmp_path / "m", values.items(), max_shard_bytes=800)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint", *(f"m.data-0000{i}-of-00003" for i in range(3)), "m.index"]
    assert_same_bytes(tensorflow_files.open_tf1_checkpoint(tmp_path), values)
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("w4", shape=(100,))
        v1.train.Saver().restore(session, str(tmp_path / "m"))
        np.testing.assert_array_equal(session.run(variable), values["w4"])
    (tmp_path / "m.data-00001-of-00003").unlink()
    assert len(tensorflow_files.open_tf1_checkpoint(tmp_path)) == 5


def test_arrays_of_any_layout_and_byte_order_are_written(tmp_path):
    value = np.arange(6, dtype=">f4").reshape(2, 3).T
    tensorflow_files.write_tf1_checkpoint(tmp_path / "m", {"x": value})
    tensor = tensorflow_files.open_tf1_checkpoint(tmp_path)["x"]
    np.testing.assert_array_equal(tensor.read(), value)


def test_writing_inside_a_graph_is_refused(tmp_path):
    with tf.Graph().as_default(), pytest.raises(RuntimeError, match="inside a graph"):
        tensorflow_files.write_tf1_checkpoint(tmp_path / "m", TENSORS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.index", "m.data-00003-of-00007", "checkpoint"])
def test_existing_files_are_never_overwritten(tmp_path, name):
    (tmp_path / name).write_text("kept")
    with pytest.raises(FileExistsError, match=name):
        tensorflow_files.write_tf1_checkpoint(tmp_path / "m", TENSORS)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "kept"


def broken_tensors():
    yield "x", np.ones(3)
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "tensors, error",
    [
        (broken_tensors(), ZeroDivisionError),
        ({}, ValueError),
        ({"": np.ones(3)}, ValueError),
        ([("x", np.ones(3)), ("x", np.ones(3))], ValueError),
        ({"x": np.array(["text"])}, ValueError),
        ({"x": np.array([None])}, ValueError),
    ],
)
def test_nothing_is_left_where_writing_fails(tmp_path, tensors, error):
    with pytest.raises(error):
        tensorflow_files.write_tf1_checkpoint(tmp_path / "m", tensors)
    assert list(tmp_path.iterdir()) == []


def test_files_already_in_place_are_taken_back_when_one_cannot_follow(tmp_path, monkeypatch):
    def rename(source, target, rename=os.rename):
        if str(target).endswith(".index"):
            raise OSError("full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="full"):
        tensorflow_files.write_tf1_checkpoint(tmp_path / "m", TENSORS)
    assert list(tmp_path.iterdir()) == []


# --- SavedModels ---------------------------------------------------------------------------------


class Part(tf.Module):
    def __init__(self, name, value):
        super().__init__(name=name)
        with self.name_scope:
            self.kernel = tf.Variable(np.full((2, 3), value, np.float32), name="kernel")
            self.steps = tf.Variable(int(value), dtype=tf.int64, name="steps")


def save_module(directory, names=("a", "b")):
    module = tf.Module(name="outer")
    with module.name_scope:
        module.parts = [Part(name, i) for i, name in enumerate(names)]
        module.again = module.parts[0]
    module.note = tf.Variable("text")
    tf.saved_model.save(module, str(directory))
    return directory


def save_tf1_module(directory):
    """Writes a SavedModel as TF-Hub's modules for TensorFlow 1 are."""
    with tf.Graph().as_default(), v1.Session() as session:
        value = np.arange(4, dtype=np.float32).reshape(2, 2)
        variable = v1.get_variable("module/bert/pooler/dense/kernel", initializer=value)
        inputs = v1.placeholder(tf.float32, [2, 2])
        signature = v1.saved_model.signature_def_utils.predict_signature_def
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session, ["train"], {"default": signature({"x": inputs}, {"y": inputs @ variable})}
        )
        builder.add_meta_graph([])
        builder.save()
    return value


def make_keras_model():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.1)(keras.layers.Dense(3, name="one")(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="two")(hidden))


def test_variables_of_nested_modules_have_their_names(tmp_path):
    tensors = tensorflow_files.open_saved_model(save_module(tmp_path / "m"))
    assert announced(tensors) == {
        "outer/a/kernel": ((2, 3), "float32"),
        "outer/a/steps": ((), "int64"),
        "outer/b/kernel": ((2, 3), "float32"),
        "outer/b/steps": ((), "int64"),
    }
    np.testing.assert_array_equal(tensors["outer/b/kernel"].read(), np.ones((2, 3)))


def test_variables_of_one_name_go_by_their_keys(tmp_path):
    tensors = tensorflow_files.open_saved_model(save_module(tmp_path / "m", ["a", "b", "b"]))
    suffix = ".ATTRIBUTES/VARIABLE_VALUE"
    assert tensors.keys() == {
        *("outer/a/kernel", "outer/a/steps"),
        *(f"parts/{i}/{name}/{suffix}" for i in (1, 2) for name in ("kernel", "steps")),
    }
    assert tensors[f"parts/2/steps/{suffix}"].read() == 2


def test_slots_of_an_optimizer_are_variables_too(tmp_path):
    module = Part("part", 1)
    module.optimizer = v1.train.MomentumOptimizer(0.1, 0.9)
    module.optimizer.apply_gradients([(tf.ones((2, 3)), module.kernel)])
    tf.saved_model.save(module, str(tmp_path / "m"))
    tensors = tensorflow_files.open_saved_model(tmp_path / "m")
    assert tensors.keys() == {"part/kernel", "part/steps", "part/kernel/Momentum"}
    np.testing.assert_array_equal(tensors["part/kernel/Momentum"].read(), np.ones((2, 3)))


@pytest.mark.parametrize("how", ["export", "save"])
def test_variables_of_a_keras_model_have_their_paths(tmp_path, how):
    model = make_keras_model()
    if how == "export":
        model.export(tmp_path / "m", verbose=False)
    else:
        tf.saved_model.save(model, str(tmp_path / "m"))
    tensors = tensorflow_files.open_saved_model(tmp_path / "m")
    assert {"one/kernel", "one/bias", "two/kernel", "two/bias"} <= tensors.keys()
    assert not any("ATTRIBUTES" in name for name in tensors)
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(tensors[variable.path].read(), variable.numpy())


def test_variables_of_a_module_for_tensorflow_1_have_their_names(tmp_path):
    value = save_tf1_module(tmp_path / "m")
    tensors = tensorflow_files.open_saved_model(tmp_path / "m")
    assert_same_bytes(tensors, {"module/bert/pooler/dense/kernel": value})


def test_saved_models_are_known_by_content(tmp_path):
    directory = save_module(tmp_path / "m")
    assert tensorflow_files.is_saved_model(directory)
    assert not tensorflow_files.is_tf1_checkpoint(directory)
    for content in (b"", b"\xff" * 20):
        (directory / "saved_model.pb").write_bytes(content)
        assert not tensorflow_files.is_saved_model(directory)
    assert not tensorflow_files.is_saved_model(tmp_path)


@pytest.mark.parametrize("lost", ["saved_model.pb", "variables"])
def test_incomplete_saved_model_is_named(tmp_path, lost):
    directory = save_module(tmp_path / "m")
    path = directory / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CheckpointError, match=f"m/{lost}"):
        tensorflow_files.open_saved_model(directory)


def test_variable_that_the_checkpoint_lacks_is_named(tmp_path):
    directory = save_module(tmp_path / "m", ["a", "b"])
    shutil.rmtree(directory / "variables")
    other = save_module(tmp_path / "other", ["a"])
    shutil.copytree(other / "variables", directory / "variables")
    with pytest.raises(CheckpointError, match="one value of the variable outer/b/kernel"):
        tensorflow_files.open_saved_model(directory)


# --- Damage --------------------------------------------------------------------------------------


def read_all(tensors):
    return {name: tensor.read() for name, tensor in tensors.items()}


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
def test_damaged_checkpoints_are_read_or_refused_by_name(prefix, suffix):
    file = prefix.with_name(f"{prefix.name}.{suffix}")
    read = lambda: read_all(tensorflow_files.open_tf1_checkpoint(prefix))  # noqa: E731
    assert check_damage(file, 200, read) > 150


def test_damaged_checkpoints_of_version_1_are_read_or_refused_by_name(tmp_path):
    prefix = tmp_path / "run" / "model.ckpt"
    prefix.parent.mkdir()
    save_with_tf1(prefix, {"w": TENSORS["half"], "step": np.int64(7)}, write_version=1)
    read = lambda: read_all(tensorflow_files.open_tf1_checkpoint(prefix))  # noqa: E731
    assert check_damage(prefix, 200, read) > 150


@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"],
)
def test_damaged_saved_models_are_read_or_refused_by_name(tmp_path, name):
    directory = save_module(tmp_path / "m")
    read = lambda: read_all(tensorflow_files.open_saved_model(directory))  # noqa: E731
    assert check_damage(directory / name, 100, read) > 40
