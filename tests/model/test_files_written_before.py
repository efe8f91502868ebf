"""Files that Keras wrote when the package was two flat folders: they name modules that are gone.

`testdata/before_rooms` holds a classifier of two layers with adapters of rank 2, compiled with
`Lamb` under `WarmupPolynomialDecay` and trained for two steps, an `AlbertEncoder` below a `Dense`
in a functional model, and what both answered to `ids` [4, 12].
"""

import pathlib

import keras
import numpy as np
import pytest

import albert_tf

BEFORE = pathlib.Path(__file__).parents[1] / "testdata" / "before_rooms"


@pytest.mark.parametrize("name", ["classifier", "encoder_within"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_keras_file_of_then_is_read_and_answers_the_same(name):
    assert albert_tf.__version__  # the import alone registers the classes
    model = keras.saving.load_model(BEFORE / f"{name}.keras")
    with np.load(BEFORE / "expected.npz") as then:
        inputs = {"input_ids": then["ids"]} if name == "classifier" else then["ids"]
        np.testing.assert_allclose(model.predict(inputs, verbose=0), then[name], atol=1e-6)
    if name == "classifier":
        assert (type(model.optimizer), int(model.optimizer.iterations)) == (albert_tf.Lamb, 2)
        assert list(model.labels) == ["no", "yes"]
