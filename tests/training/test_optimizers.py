"""The optimizers and the schedule give the numbers of the original's formulas."""

import contextlib
import math
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf.model import fused_ops
from albert_tf.training.optimizers import AdamW, Lamb, Muon, WarmupPolynomialDecay, make_optimizer


def make_variables():
    """Returns a matrix, a bias, a layer-norm scale and a matrix of zeros."""
    generator = np.random.default_rng(0)
    values = {
        "encoder/kernel": generator.normal(size=(4, 3)),
        "encoder/bias": generator.normal(size=3),
        "encoder/layer_norm/gamma": np.ones(3),
        "encoder/zeros": np.zeros((2, 2)),
    }
    variables = []
    for path, value in values.items():
        *scopes, name = path.split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            variables.append(keras.Variable(value.astype(np.float32), name=name))
    if [variable.path for variable in variables] != list(values):
        raise RuntimeError("the variables have other paths than the exclusions are tested with")
    return variables


def make_gradients(steps, scale=1.0):
    """Returns for each step a gradient for each variable; the last variable gets none at first."""
    generator = np.random.default_rng(1)
    shapes = [(4, 3), (3,), (3,), (2, 2)]
    gradients = [[scale * generator.normal(size=shape) for shape in shapes] for _ in range(steps)]
    gradients[0][-1] = np.zeros((2, 2))
    return [[g.astype(np.float32) for g in step] for step in gradients]


def run_oracle(
    gradients, rates, adapt, decay=0.01, bias_correction=False, clip=1.0, betas=(0.9, 0.999)
):
    """The original's LAMB (`adapt`) and AdamW in float64 NumPy, written from its description."""
    weights = {v.path: v.numpy().astype(np.float64) for v in make_variables()}
    m = {path: np.zeros_like(w) for path, w in weights.items()}
    v = {path: np.zeros_like(w) for path, w in weights.items()}
    for step, (grads, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        norm = np.sqrt(sum(np.sum(np.float64(g) ** 2) for g in grads))
        factor = 1.0 if clip is None else min(1.0, clip / norm)
        for (path, w), g in zip(weights.items(), grads, strict=True):
            g = g * factor
            m[path] = betas[0] * m[path] + (1 - betas[0]) * g
            v[path] = betas[1] * v[path] + (1 - betas[1]) * g * g
            m_hat, v_hat = m[path], v[path]
            if bias_correction:
                m_hat, v_hat = m_hat / (1 - betas[0] ** step), v_hat / (1 - betas[1] ** step)
            update = m_hat / (np.sqrt(v_hat) + 1e-6)
            ratio = 1.0
            if "bias" not in path and "layer_norm" not in path:
                update = update + decay * w
                if adapt:
                    w_norm, u_norm = np.linalg.norm(w), np.linalg.norm(update)
                    ratio = w_norm / u_norm if w_norm > 0 and u_norm > 0 else 1.0
            weights[path] = w - rate * ratio * update
    return list(weights.values())


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("bias_correction", [False, True], ids=["uncorrected", "corrected"])
@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb])
def test_six_steps_equal_the_numpy_oracle(optimizer_class, bias_correction, in_graph, monkeypatch):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0)
    variables, gradients = make_variables(), make_gradients(6)
    schedule = WarmupPolynomialDecay(0.1, total_steps=10, warmup_steps=3)
    optimizer = optimizer_class(schedule, bias_correction=bias_correction)
    optimizer.build(variables)
    apply = optimizer.apply
    if in_graph:
        apply = tf.function(lambda grads: optimizer.apply(grads, variables))
    for grads in gradients:
        apply([tf.constant(g) for g in grads])
    rates = [0.0, 0.1 / 3, 0.2 / 3, 0.07, 0.06, 0.05]
    expected = run_oracle(
        gradients, rates, adapt=optimizer_class is Lamb, bias_correction=bias_correction
    )
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=2e-5, atol=2e-6)
    assert int(optimizer.iterations) == 6


def test_options_reach_the_update():
    variables, gradients = make_variables(), make_gradients(3, scale=3.0)
    optimizer = Lamb(
        0.1, weight_decay=0.3, beta_1=0.8, beta_2=0.9, global_clipnorm=None, epsilon=1e-6
    )
    for grads in gradients:
        optimizer.apply([tf.constant(g) for g in grads], variables)
    expected = run_oracle(gradients, [0.1] * 3, adapt=True, decay=0.3, clip=None, betas=(0.8, 0.9))
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=2e-5, atol=2e-6)


def test_exclude_takes_other_patterns():
    variables = make_variables()
    optimizer = AdamW(0.1, exclude=["kernel"])
    optimizer.build(variables)
    assert optimizer.excluded == [True, False, False, False]


def test_what_starts_at_zero_learns_with_lamb_as_with_adamw():
    def learned(optimizer_class):
        with keras.name_scope("query"):
            variable = keras.Variable(np.zeros((4, 6), np.float32), name="adapter_out")
        optimizer = optimizer_class(1e-2, weight_decay=0.0, bias_correction=True)
        for _ in range(20):
            optimizer.apply([tf.ones((4, 6))], [variable])
        return variable.numpy()

    np.testing.assert_allclose(learned(Lamb), learned(AdamW), rtol=1e-6)


def test_default_exclusions_leave_layer_norms_and_biases_undecayed():
    variables = make_variables()
    optimizer = AdamW(0.1, weight_decay=0.5)
    zeros = [np.zeros(v.shape, np.float32) for v in variables]
    before = [v.numpy() for v in variables]
    optimizer.apply([tf.constant(z) for z in zeros], variables)
    changed = [bool(np.any(v.numpy() != b)) for v, b in zip(variables, before, strict=True)]
    assert changed == [True, False, False, False]


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb, Muon])
def test_sparse_gradients_equal_their_dense_form(optimizer_class):
    """The same row twice must count once with the sum, in the norm as well as in the moments."""
    results = []
    for sparse in (True, False):
        table = keras.Variable(np.arange(12, dtype=np.float32).reshape(4, 3), name="table")
        optimizer = optimizer_class(0.1)
        for _ in range(3):
            gradient = tf.IndexedSlices(
                tf.constant([[1.0, 2, 3], [4, 5, 6]]), tf.constant([2, 2]), tf.constant([4, 3])
            )
            gradient = gradient if sparse else tf.convert_to_tensor(gradient)
            optimizer.apply([gradient], [table])
        results.append(table.numpy())
    np.testing.assert_array_equal(*results)


def test_tied_table_gets_the_sum_of_both_gradients():
    """A table used for look-up and as output matrix, as in ALBERT's masked-LM head."""
    table = keras.Variable(np.eye(3, 2, dtype=np.float32), name="table")

    def loss():
        rows = tf.gather(tf.convert_to_tensor(table), [1, 1])
        return tf.reduce_sum(tf.matmul(rows, table, transpose_b=True) * [[1.0, 2, 3]])

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tf.convert_to_tensor(tape.gradient(value, table.value))
    w = np.eye(3, 2)
    coefficients = np.array([[1.0, 2, 3]] * 2)
    expected = coefficients.T @ w[[1, 1]]
    np.add.at(expected, [1, 1], coefficients @ w)
    np.testing.assert_allclose(gradient, expected)
    Lamb(0.1).apply([gradient], [table])


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb])
def test_optimizer_survives_serialization(optimizer_class):
    schedule = WarmupPolynomialDecay(0.1, 100, 10, power=2.0, decay_from_warmup_end=True)
    optimizer = optimizer_class(
        schedule,
        weight_decay=0.2,
        beta_1=0.8,
        beta_2=0.99,
        epsilon=1e-5,
        exclude=["a", "b"],
        bias_correction=True,
        global_clipnorm=2.0,
    )
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy) is optimizer_class
    assert copy.get_config() == optimizer.get_config()
    assert float(copy._learning_rate(50)) == float(schedule(50))


def test_schedule_equals_the_original_at_the_junction():
    schedule = WarmupPolynomialDecay(0.00176, total_steps=125_000, warmup_steps=3125)
    assert float(schedule(0)) == 0
    assert float(schedule(3124)) == pytest.approx(0.0017594, abs=5e-8)
    assert float(schedule(3125)) == pytest.approx(0.001716, abs=5e-8)
    assert float(schedule(125_000)) == 0
    assert float(schedule(200_000)) == 0


def test_schedule_without_drop_starts_the_decay_at_the_peak():
    schedule = WarmupPolynomialDecay(1.0, 110, 10, decay_from_warmup_end=True)
    assert [float(schedule(step)) for step in (5, 10, 60, 110)] == [0.5, 1.0, 0.5, 0.0]


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb, Muon])
def test_schedule_counts_updates_and_not_the_batches_gathered_for_one(optimizer_class):
    schedule = WarmupPolynomialDecay(0.1, total_steps=10, warmup_steps=2)
    optimizer = optimizer_class(schedule, gradient_accumulation_steps=4)
    weights = keras.Variable(np.ones([2, 2], np.float32))
    rates = []
    for _ in range(12):
        optimizer.apply([tf.ones([2, 2])], [weights])
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates[3::4], [float(schedule(step)) for step in (1, 2, 3)])
    assert rates[4] == rates[6] == rates[3]


@pytest.mark.parametrize("overwrite", [None, 2])
@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb, Muon])
def test_average_moves_with_updates_and_not_with_the_batches_gathered_for_one(
    optimizer_class, overwrite
):
    found = []
    for steps in (None, 4):
        optimizer = optimizer_class(
            0.1,
            gradient_accumulation_steps=steps,
            use_ema=True,
            ema_momentum=0.9,
            ema_overwrite_frequency=overwrite,
        )
        weights = keras.Variable(np.ones([2, 2], np.float32))
        for _ in range(5 * (steps or 1)):
            gradient = [[1.0, 2], [3, 5]] * weights.value  # of the weights as they are now
            optimizer.apply([gradient], [weights])
        found.append([weights.numpy(), optimizer._model_variables_moving_average[0].numpy()])
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb, Muon])
def test_training_ends_with_the_average_wherever_in_an_update_it_ends(optimizer_class):
    for count in (4, 5):
        optimizer = optimizer_class(0.1, gradient_accumulation_steps=2, use_ema=True)
        weights = keras.Variable(np.ones([2, 2], np.float32))
        for _ in range(count):
            optimizer.apply([tf.constant([[1.0, 2], [3, 5]])], [weights])
        last = weights.numpy()
        optimizer.finalize_variable_values([weights])  # as `fit` does
        (average,) = optimizer._model_variables_moving_average
        np.testing.assert_array_equal(weights, average)
        assert np.abs(weights.numpy() - last).max() > 1e-3


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb, Muon])
def test_variables_that_keras_was_told_not_to_decay_are_not_decayed(optimizer_class):
    optimizer = optimizer_class(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["kept"])
    kept, other = (keras.Variable(np.ones([2, 2], np.float32), name=n) for n in ("kept", "other"))
    optimizer.apply([tf.zeros([2, 2])] * 2, [kept, other])
    np.testing.assert_array_equal(kept, 1.0)
    assert np.all(other.numpy() < 1)
    # Keras means to refuse it then, looks for `_built` and passes over it.
    with pytest.raises(ValueError, match="must be called before the first step"):
        optimizer.exclude_from_weight_decay(var_names=["other"])


def test_another_clip_than_that_of_the_global_norm_stands_alone():
    assert AdamW(clipnorm=2.0).global_clipnorm is None
    assert Lamb(clipvalue=2.0).clipvalue == 2.0
    assert AdamW.from_config(AdamW(clipnorm=2.0).get_config()).clipnorm == 2.0


def test_schedule_without_warmup_and_with_power():
    schedule = WarmupPolynomialDecay(1.0, 100, power=2.0)
    assert float(schedule(0)) == 1.0
    assert float(schedule(50)) == 0.25


def _make(name, max_gradient_norm):
    return make_optimizer(
        name, 0.1, weight_decay=0.0, beta_2=0.9, max_gradient_norm=max_gradient_norm
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: AdamW(beta_1=1.0), "`beta_1` must lie in"),
        (lambda: AdamW(weight_decay=-1), "`weight_decay` must not be negative"),
        (lambda: AdamW(weight_decay=math.nan), "`weight_decay` must not be negative"),
        (lambda: AdamW(exclude="bias"), "`exclude` must be a list of texts. Received: 'bias'"),
        (lambda: Muon(slow_layers="pooler"), "`slow_layers` must be a list of texts"),
        (lambda: Lamb(epsilon=0), "`epsilon` must be positive"),
        (lambda: WarmupPolynomialDecay(math.nan, 5), "`learning_rate` must not be negative"),
        (lambda: _make("adamw", max_gradient_norm=math.nan), "`max_gradient_norm` must not be"),
        (lambda: _make("muon", max_gradient_norm=-1.0), "`max_gradient_norm` must not be"),
        (lambda: WarmupPolynomialDecay(1.0, 0), "`total_steps` must be positive"),
        (lambda: WarmupPolynomialDecay(1.0, 5, 5), "`warmup_steps` must lie in"),
        (lambda: WarmupPolynomialDecay(1.0, 5, power=0), "`power` must be positive"),
    ],
)
def test_wrong_hyperparameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_muon_trains_slow_layers_at_their_fraction_of_adams_rate():
    variables = [
        keras.Variable(np.ones((2, 2), np.float32), name=name) for name in ("embedding", "pooler")
    ]
    optimizer = Muon(
        0.1,
        adam_weight_decay=0.0,
        adam_lr_ratio=0.5,
        slow_layers=["pooler"],
        slow_lr_ratio=0.2,
    )
    optimizer.build(variables)
    # Adam's first step has the size of the rate, whatever the gradient.
    optimizer.apply([np.full((2, 2), 3.0, np.float32)] * 2, variables)
    moved = [1 - variable.numpy() for variable in variables]
    np.testing.assert_allclose(moved[0], np.full((2, 2), 0.1 * 0.5), rtol=1e-4)
    np.testing.assert_allclose(moved[1], np.full((2, 2), 0.1 * 0.5 * 0.2), rtol=1e-4)


def test_muon_in_bfloat16_turns_the_update_hardly_and_keeps_it_orthogonal():
    matrix = np.random.default_rng(0).normal(size=(48, 96)).astype(np.float32)
    updates = []
    for compute_dtype in ("float32", "bfloat16", "float16"):
        optimizer = make_optimizer(
            *("muon", 0.1),
            weight_decay=0,
            beta_2=0.9,
            max_gradient_norm=1,
            compute_dtype=compute_dtype,
        )
        updates.append(keras.ops.convert_to_numpy(optimizer.zeropower_via_newtonschulz5(matrix, 5)))
        assert updates[-1].dtype == np.float32
    exact, half, of_float16 = updates
    np.testing.assert_array_equal(exact, of_float16)
    assert not np.array_equal(exact, half)
    cosine = np.sum(exact * half) / np.linalg.norm(exact) / np.linalg.norm(half)
    assert cosine > 0.997
    singular_values = np.linalg.svd(half, compute_uv=False)
    assert 0.6 < singular_values.min() and singular_values.max() < 1.3


def test_muon_decays_no_variable_faster_than_it_learns():
    variables = {
        path: keras.Variable(np.ones((2, 2), np.float32), name=path)
        for path in ("kernel", "word_embeddings", "pooler", "bias")
    }
    optimizer = make_optimizer("muon", 0.1, weight_decay=0.3, beta_2=0.9, max_gradient_norm=1)
    optimizer.build(list(variables.values()))
    optimizer.apply([np.zeros((2, 2), np.float32)] * 4, list(variables.values()))
    left = {path: variable.numpy()[0, 0] for path, variable in variables.items()}
    # Embeddings learn at a third of the rate, the pooler at a sixtieth.
    expected = {"kernel": 1 - 0.03, "word_embeddings": 1 - 0.01, "pooler": 1, "bias": 1}
    assert left == pytest.approx(expected)


def test_muon_excludes_slow_layers_beside_what_its_owner_excludes():
    variables = [
        keras.Variable(np.ones((2, 2), np.float32), name=name) for name in ("a", "b", "pooler")
    ]
    optimizer = Muon(0.1, weight_decay=0.3, slow_layers=["pooler"])
    optimizer.exclude_from_weight_decay(var_list=variables[:1])
    optimizer.build(variables)
    optimizer.apply([np.zeros((2, 2), np.float32)] * 3, variables)
    assert [v.numpy()[0, 0] for v in variables] == pytest.approx([1, 1 - 0.03, 1])


def test_muon_round_trips_through_its_config():
    optimizer = Muon(0.1, slow_layers=["pooler"], slow_lr_ratio=0.2, orthogonalize_in="bfloat16")
    again = Muon.from_config(optimizer.get_config())
    assert (again.slow_layers, again.slow_lr_ratio) == (("pooler",), 0.2)


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb])
def test_layer_rate_scales_the_update_of_the_variables_it_names(optimizer_class):
    def updated(layer_rates):
        low = keras.Variable(np.ones((3, 2), np.float32), name="low")
        high = keras.Variable(np.ones((3, 2), np.float32), name="high")
        optimizer = optimizer_class(0.1, layer_rates=layer_rates, global_clipnorm=None)
        optimizer.build([low, high])
        gradient = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
        optimizer.apply([tf.constant(gradient)] * 2, [low, high])
        return low.numpy() - 1, high.numpy() - 1

    plain, scaled = updated(None), updated({"low": 0.25, "l": 0.5})
    np.testing.assert_allclose(scaled[0], 0.25 * plain[0], rtol=1e-5)
    np.testing.assert_array_equal(scaled[1], plain[1])


def test_layer_rates_go_with_adamw_and_lamb():
    with pytest.raises(ValueError, match="with adamw and lamb. Received: muon"):
        make_optimizer(
            "muon", 0.1, weight_decay=0, beta_2=0.9, max_gradient_norm=1, layer_rates={"a": 0.5}
        )


@pytest.mark.parametrize("optimizer_class", [AdamW, Lamb])
def test_weight_decay_is_what_it_is_set_to(optimizer_class):
    variable = keras.Variable(np.ones((2, 2), np.float32), name="kernel")
    optimizer = optimizer_class(0.1, weight_decay=0.5, global_clipnorm=None)
    assert optimizer.weight_decay == 0.5
    optimizer.weight_decay = 0.1
    assert optimizer.get_config()["weight_decay"] == 0.1
    optimizer.build([variable])
    optimizer.apply([tf.zeros((2, 2))], [variable])
    # LAMB takes a step of the rate's share of the weights' norm.
    expected = 0.99 if optimizer_class is AdamW else 0.9
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_configs_are_plain_data_and_come_back_as_they_were():
    given = {"layer_rates": {"a": 0.5}, "exclude": ["b"]}
    for optimizer in (AdamW(**given), Lamb(**given)):
        config = pickle.loads(pickle.dumps(optimizer.get_config()))
        config["layer_rates"]["c"] = 1.0
        assert optimizer.get_config()["layer_rates"] == {"a": 0.5}
    muon = Muon(exclude_layers=["b", "a"], slow_layers=["a"])
    again = Muon.from_config(muon.get_config())
    assert list(again.exclude_layers) == list(muon.exclude_layers) == ["b", "a"]
    assert list(Muon(exclude_layers=None).exclude_layers) == []
