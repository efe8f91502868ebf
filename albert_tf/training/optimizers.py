"""LAMB, AdamW and the learning-rate schedule, as ALBERT was trained with them.

They differ from the Keras optimizers of the same names in four ways that change results: there is
no bias correction, epsilon is 1e-6 and stands outside the square root, weight decay is part of the
update (and so inside LAMB's trust ratio), and layer normalisations and biases are recognised by the
variable's path.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from albert_tf import setting_checks
from albert_tf.model import fused_ops
from albert_tf.model.tensors import Tensor

Schedule = keras.optimizers.schedules.LearningRateSchedule
Variable = keras.Variable
# Searched as regular expressions in the path of each variable, as the original does with names.
UNDECAYED = ("LayerNorm", "layer_norm", "bias")


class _OfWholeBatches:
    """What `fit` of Keras needs for the updates of one device, on several and with micro-batches.

    Keras clips the gradients of each replica by themselves and adds them up afterwards; here the
    sum is clipped. Its schedules and averages count micro-batches; here they count updates.
    """

    def add_up(self, pairs: list[tuple]) -> list[tuple]:
        """Returns (gradient of all replicas, variable) for (gradient of this one, variable)."""
        return super()._all_reduce_sum_gradients(pairs) if fused_ops.ON_TENSORFLOW else pairs

    def apply(
        self, grads: Sequence[Tensor], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        """Updates the variables by dense gradients."""
        # The moments of every row decay, and the norm must see the sum of a row's slices.
        super().apply([fused_ops.make_dense(grad) for grad in grads], trainable_variables)

    def exclude_from_weight_decay(self, *args: Any, **kwargs: Any) -> None:
        """Leaves variables as Keras does, and only before the first step, which looks them up."""
        if self.built:
            raise ValueError("`exclude_from_weight_decay` must be called before the first step")
        super().exclude_from_weight_decay(*args, **kwargs)

    def _update_model_variables_moving_average(self, variables: list[Variable]) -> None:
        kept = ops.where(self.iterations == 0, 0.0, self.ema_momentum)
        kept = ops.where(self._ends_update(), kept, 1.0)
        for variable, average in zip(variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                share = ops.cast(kept, variable.dtype)
                average.assign(share * average + (1 - share) * variable)

    def _overwrite_model_variables_with_average_value(self, variables: list) -> None:
        overwrite = super()._overwrite_model_variables_with_average_value
        ops.cond(self._ends_update(), lambda: overwrite(variables), lambda: None)

    def finalize_variable_values(self, var_list: list[Variable]) -> None:
        """Puts the averages into the variables at the end of `fit`, wherever in an update it is."""
        if self.use_ema:
            super()._overwrite_model_variables_with_average_value(var_list)

    def _ends_update(self) -> Tensor:
        return (self._iterations + 1) % (self.gradient_accumulation_steps or 1) == 0

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        pairs = self.add_up([(grad, None) for grad in grads])
        return super()._clip_gradients([grad for grad, _ in pairs])

    def _all_reduce_sum_gradients(self, pairs: list[tuple]) -> list[tuple]:
        return pairs  # as `_clip_gradients` left them

    def _get_current_learning_rate(self) -> Tensor:
        if isinstance(self._learning_rate, Schedule):
            return self._learning_rate(self.iterations)
        return super()._get_current_learning_rate()


@keras.saving.register_keras_serializable(package="albert_tf")
class AdamW(_OfWholeBatches, keras.optimizers.Optimizer):
    """Adam with decoupled weight decay, as in BERT and ALBERT.

    One step::

        m = beta_1 m + (1 - beta_1) g
        v = beta_2 v + (1 - beta_2) g^2
        u = m / (sqrt(v) + epsilon) + weight_decay w
        w = w - learning_rate u

    Args:
        learning_rate: number or `keras.optimizers.schedules.LearningRateSchedule`.
        weight_decay: factor of w in the update, 0 for the variables that `exclude` names.
        beta_1: decay of the first moment.
        beta_2: decay of the second moment.
        epsilon: added to sqrt(v).
        exclude: regular expressions, searched in each variable's path.
        bias_correction: whether to divide m and v by 1 - beta^step, which the original does not.
        global_clipnorm: largest norm of all gradients together, None to leave them as they are.
        layer_rates: {regular expression: factor of the rate}; the first found in a path, else 1.
        kwargs: of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        weight_decay: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        exclude: Sequence[str] = UNDECAYED,
        bias_correction: bool = False,
        global_clipnorm: float | None = 1.0,
        layer_rates: Mapping[str, float] | None = None,
        name: str = "adamw",
        **kwargs,
    ):
        setting_checks.check_not_negative("weight_decay", weight_decay)
        setting_checks.check_fraction("beta_1", beta_1)
        setting_checks.check_fraction("beta_2", beta_2)
        setting_checks.check_positive("epsilon", epsilon)
        setting_checks.check_list("exclude", exclude)
        if global_clipnorm == 1.0 and (kwargs.get("clipnorm") or kwargs.get("clipvalue")):
            global_clipnorm = None  # another clip in place of the default
        super().__init__(learning_rate, name=name, global_clipnorm=global_clipnorm, **kwargs)
        self.weight_decay = weight_decay
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.exclude = tuple(exclude)
        self.bias_correction = bias_correction
        self.layer_rates = dict(layer_rates or {})

    def build(self, variables: list[Variable]) -> None:
        """Makes the moments `m` and `v` of each variable, zero at first."""
        if self.built:
            return
        super().build(variables)
        moments = self.add_optimizer_variables(variables, ["m", "v"])
        self.first_moments, self.second_moments = moments
        self.excluded = [
            any(re.search(p, v.path) for p in self.exclude) or not self._use_weight_decay(v)
            for v in variables
        ]
        self.rate_factors = [
            next((f for pattern, f in self.layer_rates.items() if re.search(pattern, v.path)), 1.0)
            for v in variables
        ]

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        """Updates one variable."""
        # Private, and yet how each optimizer of Keras finds the slots of a variable.
        index = self._get_variable_index(variable)
        learning_rate = learning_rate * self.rate_factors[index]
        first, second = self.first_moments[index], self.second_moments[index]
        corrections = (1.0, 1.0)
        if self.bias_correction:
            step = ops.cast(self.iterations + 1, "float32")
            corrections = (1 - ops.power(self.beta_1, step), 1 - ops.power(self.beta_2, step))
        operands = (variable, first, second, gradient, learning_rate, *corrections)
        operands = (ops.cast(operand, variable.dtype) for operand in operands)
        updated = fused_ops.run_fused(self._update, *operands, excluded=self.excluded[index])
        for target, value in zip((variable, first, second), updated, strict=True):
            self.assign(target, value)

    def _apply_weight_decay(self, variables: list[Variable]) -> None:
        """Does nothing: the decay is a part of each update here."""

    def _update(
        self,
        weights: Tensor,
        first: Tensor,
        second: Tensor,
        gradient: Tensor,
        rate: Tensor,
        first_correction: Tensor,
        second_correction: Tensor,
        excluded: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the new weights and moments."""
        first = self.beta_1 * first + (1 - self.beta_1) * gradient
        second = self.beta_2 * second + (1 - self.beta_2) * ops.square(gradient)
        deviation = ops.sqrt(second / second_correction)
        update = first / first_correction / (deviation + self.epsilon)
        if not excluded:
            update = update + self.weight_decay * weights
            rate = rate * self.trust_ratio(weights, update)
        return weights - rate * update, first, second

    def trust_ratio(self, weights: Tensor, update: Tensor) -> float | Tensor:
        """Returns the factor of the learning rate for one variable: 1 for AdamW."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        names = ("weight_decay", "beta_1", "beta_2", "epsilon", "bias_correction")
        own = {name: getattr(self, name) for name in names}
        own |= {"exclude": list(self.exclude), "layer_rates": dict(self.layer_rates)}
        return super().get_config() | own


@keras.saving.register_keras_serializable(package="albert_tf")
class Lamb(AdamW):
    """AdamW with one trust ratio a variable (https://arxiv.org/abs/1904.00962).

    One step::

        u as in AdamW
        r = |w| / |u|, or 1 where either norm is 0 and for the variables that `exclude` names
        w = w - learning_rate r u

    Arguments as of `AdamW`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.00176,
        weight_decay: float = 0.01,
        *,
        # What starts at zero would grow by shares of its length, and never have one.
        exclude: Sequence[str] = (*UNDECAYED, "adapter_out"),
        name: str = "lamb",
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay, exclude=exclude, name=name, **kwargs)

    def trust_ratio(self, weights: Tensor, update: Tensor) -> Tensor:
        """Returns |w| / |u|, or 1 where either is 0."""
        weight_norm = ops.sqrt(ops.sum(ops.square(weights)))
        update_norm = ops.sqrt(ops.sum(ops.square(update)))
        both = ops.logical_and(weight_norm > 0, update_norm > 0)
        return ops.where(both, weight_norm / ops.where(both, update_norm, 1.0), 1.0)


@keras.saving.register_keras_serializable(package="albert_tf")
class Muon(_OfWholeBatches, keras.optimizers.Muon):
    """Keras's Muon, with layers that Adam trains at a rate of their own and without decay.

    Args:
        slow_layers: regular expressions, searched in each variable's path.
        slow_lr_ratio: factor of Adam's rate for these variables.
        orthogonalize_in: dtype of the products that make an update orthogonal. Muon's authors take
            bfloat16; in float32 they are a fifth of a small model's step.
        kwargs: of `keras.optimizers.Muon`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        *,
        slow_layers: Sequence[str] = (),
        slow_lr_ratio: float = 1.0,
        orthogonalize_in: str = "float32",
        **kwargs,
    ):
        setting_checks.check_list("slow_layers", slow_layers)
        excluded = list(dict.fromkeys([*(kwargs.pop("exclude_layers", None) or ()), *slow_layers]))
        super().__init__(learning_rate, exclude_layers=excluded, **kwargs)
        self.slow_layers = tuple(slow_layers)
        self.slow_lr_ratio = slow_lr_ratio
        self.orthogonalize_in = orthogonalize_in

    def build(self, variables: list[Variable]) -> None:
        """Makes the moments, and notes which variables are slow."""
        if self.built:
            return
        super().build(variables)
        self.is_slow = [any(re.search(p, v.path) for p in self.slow_layers) for v in variables]

    def _use_weight_decay(self, variable: Variable) -> bool:
        # Keras decays at the rate of the matrices: slow layers would shrink faster than they learn.
        is_slow = self.is_slow[self._get_variable_index(variable)]
        return not is_slow and super()._use_weight_decay(variable)

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        """Updates one variable."""
        if self.is_slow[self._get_variable_index(variable)]:
            learning_rate *= self.slow_lr_ratio
        super().update_step(gradient, variable, learning_rate)

    def zeropower_via_newtonschulz5(self, x: Tensor, steps: int) -> Tensor:
        """Returns roughly the nearest orthogonal matrix, under Keras's name for it."""
        made = super().zeropower_via_newtonschulz5(ops.cast(x, self.orthogonalize_in), steps)
        return ops.cast(made, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        own = {name: getattr(self, name) for name in ("slow_lr_ratio", "orthogonalize_in")}
        return super().get_config() | own | {"slow_layers": list(self.slow_layers)}


@keras.saving.register_keras_serializable(package="albert_tf")
class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then polynomial decay to 0.

    As in the original, the decay counts from step 0 and not from the end of the warm-up, so the
    rate drops at the junction: 0.00176 with 3,125 of 125,000 steps of warm-up gives 0.0017594 at
    step 3124 and 0.001716 at step 3125.

    Args:
        learning_rate: the rate that the warm-up leads to.
        total_steps: the step at which the rate is 0.
        warmup_steps: length of the warm-up, 0 for none.
        power: of the decay; 1 is linear.
        decay_from_warmup_end: whether the decay counts from the end of the warm-up: no drop.
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        warmup_steps: int = 0,
        power: float = 1.0,
        decay_from_warmup_end: bool = False,
    ):
        setting_checks.check_positive("total_steps", total_steps)
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                "`warmup_steps` must lie in [0, total_steps). Received: "
                f"warmup_steps={warmup_steps}, total_steps={total_steps}"
            )
        setting_checks.check_not_negative("learning_rate", learning_rate)
        setting_checks.check_positive("power", power)
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.power = power
        self.decay_from_warmup_end = decay_from_warmup_end

    def __call__(self, step: int | Tensor) -> Tensor:
        """Returns the float32 rate of the update that follows `step` finished ones."""
        step = ops.cast(step, "float32")
        start = float(self.warmup_steps) if self.decay_from_warmup_end else 0.0
        progress = ops.clip((step - start) / (self.total_steps - start), 0.0, 1.0)
        decayed = self.learning_rate * ops.power(1.0 - progress, self.power)
        warm = self.learning_rate * step / max(1.0, float(self.warmup_steps))
        return ops.where(step < self.warmup_steps, warm, decayed)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        names = ("learning_rate", "total_steps", "warmup_steps", "power", "decay_from_warmup_end")
        return {name: getattr(self, name) for name in names}


OPTIMIZERS = {"adamw": AdamW, "lamb": Lamb, "muon": Muon}


def make_optimizer(
    name: str,
    schedule: Schedule,
    *,
    weight_decay: float,
    beta_2: float,
    max_gradient_norm: float,
    layer_rates: Mapping[str, float] | None = None,
    bias_correction: bool = False,
    compute_dtype: str = "float32",
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training run.

    Args:
        name: one of `OPTIMIZERS`.
        schedule: the learning rate.
        weight_decay, beta_2: of the optimizer.
        max_gradient_norm: clip the global norm of the gradients; 0 does not.
        layer_rates, bias_correction: as of `AdamW`.
        compute_dtype: of the model.

    Raises:
        ValueError: for `layer_rates` with Muon, or a number that is none.
    """
    setting_checks.check_not_negative("max_gradient_norm", max_gradient_norm)
    common = {"weight_decay": weight_decay, "global_clipnorm": max_gradient_norm or None}
    if name != "muon":
        common |= {"layer_rates": layer_rates, "bias_correction": bias_correction}
        return OPTIMIZERS[name](schedule, beta_2=beta_2, **common)
    if layer_rates:
        raise ValueError(
            "layers have rates of their own (`layer_decay`) with adamw and lamb. Received: muon"
        )
    # Muon for the matrices, and Adam, which always corrects its moments, for the rest.
    optimizer = Muon(
        schedule,
        adam_beta_2=beta_2,
        # Adam's parts, mostly the embeddings, take a third of the rate that the matrices bear.
        adam_lr_ratio=1 / 3,
        adam_weight_decay=weight_decay / 3,
        epsilon=1e-6,
        # What the order head sends back is mostly noise at first: at the rate of the embeddings the
        # pooler would walk to where its tanh is flat. LAMB's trust ratio holds it back as much.
        slow_layers=["pooler", "sentence_order_head"],
        slow_lr_ratio=0.05,
        orthogonalize_in="bfloat16" if compute_dtype == "bfloat16" else "float32",
        **common,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
