"""How far gradients, weights and the loss move in an update, and the radii of curvature of the variables."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import tensorflow as tf

from tflbt import checks
from tflbt.optimizers.median import median
from tflbt.training.keras_internals import rate_of_next_step
from tflbt.training.rules.gradient_statistics import layers_in_order, squared_norm
from tflbt.training.rules.rule import Rule

RADII = ("none", "median", "l2")


@checks.arguments
@dataclasses.dataclass(eq=False)
class Strides(Rule):
    r"""Logs how large the steps of an epoch are, on average over the P weights of a layer and the epoch's T updates.

    With the mean gradient g of an update as the optimizer gets it (before clipping and momentum; weight regularisers
    count), the weights w before and w' after it, its learning rate $\eta$ and the loss L of its samples:

    - `gradient_stride`: $|g|_1 / P$; `gradient_stride_first`: of the epoch's first update alone;
    - `parameter_stride`: $|w' - w|_1 / P$, what was really applied, momentum, decay and trust ratio included;
    - `path_length`: the sum of these over the epoch, not their mean;
    - `normalized_stride`: $|w' - w|_1 / (P \eta)$;
    - `loss_stride`: $(L - L') / \eta$, where L' is the loss of the next update's samples in the same epoch: noisy;
    - `loss_stride_first_order`: $|g|_2^2 / P$, the same to the first order of a small step, by weight.

    With `radii` it also logs `radius/VARIABLE`, the average radius of curvature of each trainable variable at the
    epoch's first update: med|w| / med|g|, or |w|_2 / |g|_2. (The mean of |w_i / g_i| does not exist: it is a ratio of
    numbers near 0.)

    Everything is of the reduced gradient, so sub-batches and ranks make no difference. It changes nothing, and costs a
    copy of the layer's weights. Updates whose gradient is not finite do not count.

    For Gaussian gradients of standard deviation $\sigma$ a sample, a batch of n has the gradient stride
    $\sigma \sqrt{2 / (\pi n)}$: the slope against n is -1/2, log-log. (Equation 4 of the paper says
    $2 \sigma / \sqrt{\pi n}$, which is $\sqrt 2$ times too much, and equations 6 and 28 have it from there.)

    Args:
        layer: The layer whose kernel is watched, by its name; "first_dense" (default): the first Dense layer of the
            network, as in the paper's figures; "all": all trainable variables together.
        radii: "none" (default), "median" or "l2"; a column for each variable.

    Raises:
        ValueError: If `radii` is none of these; at the start of `fit`, if there is no such layer, or it has no
            trainable kernel.

    Source: sections 2.1 to 2.3 and equation 20 of `curvature-radius.txt`, Figures 2 to 9.

    Example:
        >>> from tflbt import LargeBatchModel
        >>> inputs = tf.keras.Input([1])
        >>> unit = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        >>> model, rule = LargeBatchModel(inputs, unit(inputs)), Strides()
        >>> model.compile(tf.keras.optimizers.SGD(0.25), "mse")
        >>> _ = model.fit(tf.ones([8, 1]), tf.ones([8, 1]), batch_size=4, verbose=0, rules=[rule])
        >>> columns = rule.columns(epoch=0)  # w = 0, 0.5, 0.75; derivatives -2, -1; losses 1, 0.25
        >>> columns["gradient_stride"], columns["path_length"], columns["loss_stride"]
        (1.5, 0.75, 3.0)
    """

    layer: str = "first_dense"
    radii: str = "none"

    name: ClassVar[str] = "strides"
    _sums: Any = dataclasses.field(default=None, init=False, repr=False)
    _latest: Any = dataclasses.field(default=None, init=False, repr=False)
    _radii: Any = dataclasses.field(default=None, init=False, repr=False)
    _watched: Any = dataclasses.field(default=(), init=False, repr=False)  # places of variables
    _begun: Any = dataclasses.field(default=None, init=False, repr=False)  # tensors of this update

    def __post_init__(self) -> None:
        """Checks the options."""
        checks.one_of("radii", self.radii, RADII)

    def start(self, model: Any, spec: Any) -> None:
        """Finds the layer; creates the sums of an epoch."""
        super().start(model, spec)
        self._watched = watched(model, self.layer)
        if self._sums is None:
            self._sums = tf.Variable([0.0] * len(_SUMS), trainable=False, name="tflbt_strides")
            self._latest = tf.Variable([0.0] * 4, trainable=False, name="tflbt_strides_latest")
        count = len(model.trainable_variables) if self.radii != "none" else 0
        if count and (self._radii is None or self._radii.shape != [count]):
            self._radii = tf.Variable([math.nan] * count, trainable=False, name="tflbt_radii")

    def begin_epoch(self, epoch: int) -> None:
        """Begins the sums; Keras begins its count of the loss."""
        self._sums.assign([0.0] * len(_SUMS))
        self._latest.assign([0.0] * 4)

    def observe_update(
        self, gradients: list[tf.Tensor], samples: tf.Tensor, scalars: list[tf.Tensor]
    ) -> None:
        """Notes gradients and weights before the step."""
        variables = self.model.trainable_variables
        few = [gradients[place] for place in self._watched]
        before = [variables[place].read_value() for place in self._watched]
        rate = rate_of_next_step(self.model)
        rate = tf.cast(math.nan if rate is None else rate, tf.float32)
        self._begun = (_mean_size(few), squared_norm(few) / _size(few), before, rate)
        if self.radii != "none":
            new = tf.cond(
                self._sums[0] > 0,
                lambda: tf.convert_to_tensor(self._radii),
                lambda: tf.stack([radius(v, g, self.radii) for v, g in zip(variables, gradients)]),
            )
            self._radii.assign(new)

    def after_update(self) -> None:
        """Adds the update's strides to the sums."""
        (gradient, square, before, rate), self._begun = self._begun, None
        variables = self.model.trainable_variables
        steps = [variables[place] - old for place, old in zip(self._watched, before)]
        step = _mean_size(steps)
        loss, counted, rate_before, loss_before = self._take_loss(rate)
        follows = counted & (rate_before > 0)  # an update of this epoch whose loss is known
        fall = tf.where(follows, (loss_before - loss) / rate_before, 0.0)
        first = tf.where(self._sums[0] > 0, 0.0, gradient)
        new = [1.0, gradient, first, step, tf.math.divide_no_nan(step, rate)]
        new += [square, fall, tf.cast(follows, tf.float32)]
        usable = tf.math.is_finite(gradient)
        self._sums.assign_add(tf.where(usable, tf.stack(new), tf.zeros([len(new)])))

    def _take_loss(self, rate: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The loss of this update, whether Keras counted it, and the rate and loss of the one before, or 0."""
        metric = next((m for m in self.model.metrics if m.name == "loss"), None)
        total, count, rate_before, loss_before = tf.unstack(tf.convert_to_tensor(self._latest))
        if metric is None or not hasattr(metric, "total"):
            return loss_before, tf.constant(False), rate_before, loss_before
        new_total, new_count = (tf.cast(v, tf.float32) for v in (metric.total, metric.count))
        loss = (new_total - total) / (new_count - count)
        counted = new_count > count
        self._latest.assign(tf.stack([new_total, new_count, tf.where(counted, rate, 0.0), loss]))
        return loss, counted, rate_before, loss_before

    def columns(self, epoch: int) -> dict[str, Any]:
        """The means of the epoch."""
        sums = dict(zip(_SUMS, (float(value) for value in self._sums.numpy())))
        updates, pairs = sums.pop("updates"), sums.pop("pairs")
        first, fall = sums.pop("gradient_stride_first"), sums.pop("loss_stride")
        columns = {name: value / updates if updates else None for name, value in sums.items()}
        columns["gradient_stride_first"] = first if updates else None
        columns["path_length"] = sums["parameter_stride"] if updates else None
        columns["loss_stride"] = fall / pairs if pairs else None
        if self.radii != "none":
            columns.update(zip(radius_columns(self.model), (float(r) for r in self._radii.numpy())))
        return columns


# What is added up over an epoch.
_SUMS = (
    *("updates", "gradient_stride", "gradient_stride_first", "parameter_stride"),
    *("normalized_stride", "loss_stride_first_order", "loss_stride", "pairs"),
)


def watched(model: tf.keras.Model, layer: str) -> list[int]:
    """The places, among a model's trainable variables, of those that a layer's name means; see `Strides`.

    Raises:
        ValueError: If there is no such layer, or it has no trainable kernel; names those that there are.
    """
    variables = model.trainable_variables
    if layer == "all":
        return list(range(len(variables)))
    layers = [part for part in layers_in_order(model) if getattr(part, "kernel", None) is not None]
    if layer == "first_dense":
        found = [part for part in layers if isinstance(part, tf.keras.layers.Dense)][:1]
    else:
        found = [part for part in layers if part.name == layer]
    places = [i for i, v in enumerate(variables) for part in found if v is part.kernel]
    if not places:
        names = ", ".join(part.name for part in layers)
        raise ValueError(
            f"layer={layer!r} must be first_dense, all, or a layer with a trainable kernel: {names or 'none'}."
        )
    return places


def radius(variable: Any, gradient: tf.Tensor, kind: str) -> tf.Tensor:
    """A variable's average radius of curvature, a float32 scalar: med|w| / med|g|, or |w| / |g| for "l2".

    Infinite where the gradient is 0; NaN where both are.
    """
    values = (tf.cast(variable, tf.float32), tf.cast(gradient, tf.float32))
    if kind == "median":
        weight, slope = (median(value) for value in values)
    else:
        weight, slope = (tf.norm(value) for value in values)
    return weight / slope


def radius_columns(model: tf.keras.Model) -> list[str]:
    """The columns of the radii, one for each trainable variable."""
    names = [variable.name.partition(":")[0] for variable in model.trainable_variables]
    return [
        f"radius/{name}" if names.count(name) == 1 else f"radius/{place}/{name}"
        for place, name in enumerate(names)
    ]


def _size(tensors: list[tf.Tensor]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _mean_size(tensors: list[tf.Tensor]) -> tf.Tensor:
    """The mean of |x| over all numbers, in float32."""
    sums = [tf.reduce_sum(tf.abs(tf.cast(tensor, tf.float32))) for tensor in tensors]
    return tf.add_n(sums) / _size(tensors)
