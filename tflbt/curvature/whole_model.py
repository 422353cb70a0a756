"""Hessian-vector products for any variables of a model, every sub-batch run through all of it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt import legacy_keras
from tflbt.curvature.power_iteration import MatVec, Vector
from tflbt.curvature.products import (
    central_difference,
    gradient,
    hessian_product,
    linearised,
    mean_over_samples,
)
from tflbt.curvature.samples import MeasuredSamples, with_nones, without_nones
from tflbt.curvature.total_loss import TotalLoss, valid_elements
from tflbt.distributed import comm

Result = TypeVar("Result")

#: What is compiled for each model. It holds the model's layers but only a weak reference to the model, so that it goes
#: when the model goes.
_COMPILED: weakref.WeakKeyDictionary[tf.keras.Model, dict[Any, tuple[Any, Any]]] = (
    weakref.WeakKeyDictionary()
)
#: A bound on these, for models that something compiled keeps alive all the same, such as a loss that is their method.
_MODELS = 8
_MOST_OUTPUTS = 64  # of a model whose outputs have masks


def compiled(model: tf.keras.Model, kind: Any, key: Any, make: Callable[[], Result]) -> Result:
    """Return what was compiled for a model, made anew by `make` if `key` has changed since.

    One thing of each `kind` is stored per model. What `make` returns must not hold the model.
    """
    entries = _COMPILED.setdefault(model, {})
    last, result = entries.get(kind, (None, None))
    if last != key:
        result = make()
        entries[kind] = (key, result)
        while len(_COMPILED) > _MODELS:
            del _COMPILED[next(iter(_COMPILED))]
    return result


class WholeModel:
    """The sums over one sub-batch, compiled once for a model in inference mode, a loss and a set of variables.

    `specs` are the `tf.TensorSpec` of `(x, y, sample_weight)`. Mixed precision runs as float32.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        variables: Sequence[tf.Variable],
        total_loss: TotalLoss,
        specs: tuple[Any, Any, Any],
    ) -> None:
        self.variables = list(variables)
        reference: Callable[[], Any] = weakref.ref(model)
        shapes = [tf.TensorSpec(v.shape, v.dtype) for v in self.variables]
        inputs, *structure = specs
        batch = [inputs, without_nones(structure)]

        def total(x, targets):
            y, weight = with_nones(structure, targets)
            net = reference()
            outputs = run_in_full_precision(net, lambda: net(x, training=False))
            return total_loss.of_pass(net, outputs, y, weight, self.variables[0].dtype)

        def slopes(x, targets):
            return gradient(lambda: total(x, targets), self.variables)

        def product(x, targets, vector):
            return hessian_product(lambda: total(x, targets), self.variables, vector)

        def valid(x):
            outputs = tf.nest.flatten(
                run_in_full_precision(reference(), lambda: reference()(x, training=False))
            )
            counts = [valid_elements(output) for output in outputs]
            counts = [tf.zeros([]) if count is None else count for count in counts]
            return tf.pad(tf.stack(counts), [[0, _MOST_OUTPUTS - len(counts)]])

        self._valid: Any = None
        self._counted: Any = None
        if any(map(_makes_masks, _layers(model))):
            self._valid = tf.function(valid, input_signature=batch[:1])
            total_loss.samples_per_valid = tf.Variable(tf.ones([_MOST_OUTPUTS]), trainable=False)
        self._samples_per_valid = total_loss.samples_per_valid
        self.loss = tf.function(total, input_signature=batch)
        self.gradient = tf.function(slopes, input_signature=batch)
        self.product = tf.function(product, input_signature=[*batch, shapes])

    def mean_loss(self, samples: MeasuredSamples) -> float:
        """Return the loss of this rank's samples, at whatever the model's variables hold."""
        self._count_valid(samples, None)
        parts = (self.loss(x, without_nones(targets)) for x, *targets in samples.sub_batches())
        return float(sum(map(float, parts)) / samples.count)

    def slopes(self, samples: MeasuredSamples) -> list[np.ndarray]:
        """Return the gradient of `mean_loss`, an array per variable."""
        self._count_valid(samples, None)
        return [part.numpy() / samples.count for part in self.gradient_sums(samples)]

    def gradient_sums(self, samples: MeasuredSamples) -> Vector:
        """Return the gradient of the sum over this rank's samples."""
        return self._over(samples, self.gradient)

    def exact(self, samples: MeasuredSamples, reduction: comm.Reduction) -> MatVec:
        r"""Return `v -> Hv` by double differentiation, averaged over all ranks' samples.

        Samples that fit one sub-batch go forward and backward once, here; a product is then the second backward pass
        alone, `H v = (\partial \nabla F / \partial w)^\top v`: 2.0 to 2.3 gradients' time instead of 3.0 (ResNet-20,
        CPU). Its price is the memory of two backward passes, for as long as the function returned lives.
        """
        self._count_valid(samples, reduction)
        if 0 < samples.count <= samples.sub_batch_size:
            ((x, *targets),) = samples.sub_batches()
            sums = linearised(self.gradient, self.variables, [x, without_nones(targets)])
        else:

            def sums(vector: Sequence[tf.Tensor]) -> Vector:
                return self._over(samples, lambda *batch: self.product(*batch, vector))

        return lambda vector: mean_over_samples(sums(vector), samples.count, reduction)

    def finite_difference(
        self, samples: MeasuredSamples, step: float, reduction: comm.Reduction
    ) -> MatVec:
        """Return `v -> Hv` by central differences; it moves the model's own variables, so use it inside `preserved`."""
        values = [tf.identity(variable) for variable in self.variables]
        self._count_valid(samples, reduction)

        def matvec(vector: Vector) -> Vector:
            sums = central_difference(
                lambda: self.gradient_sums(samples), self.variables, values, vector, step
            )
            return mean_over_samples(sums, samples.count, reduction)

        return matvec

    def _count_valid(self, samples: MeasuredSamples, reduction: comm.Reduction | None) -> None:
        """Count what masks leave of all samples, which no sub-batch knows, where there are masks."""
        factor = self._samples_per_valid
        if factor is None or self._counted == (samples, reduction):
            return
        sums = [tf.zeros([_MOST_OUTPUTS]), tf.constant(float(samples.count))]
        for x, *_ in samples.sub_batches():
            sums[0] += self._valid(x)
        if reduction is not None:
            sums = comm.all_reduce_sum(sums, "tflbt.curvature.valid", reduction)
        valid, count = sums
        factor.assign(tf.where(valid > 0, count / tf.maximum(valid, 1.0), 1.0))
        self._counted = samples, reduction

    def _over(self, samples: MeasuredSamples, function: Callable[..., Vector]) -> Vector:
        sums = [tf.zeros(variable.shape, variable.dtype) for variable in self.variables]
        for x, *targets in samples.sub_batches():
            parts = function(x, without_nones(targets))
            sums = [total + part for total, part in zip(sums, parts)]
        return sums


def whole_model(
    model: tf.keras.Model,
    variables: Sequence[tf.Variable],
    total_loss: TotalLoss,
    samples: MeasuredSamples,
) -> WholeModel:
    """Return the compiled `WholeModel`, made anew if anything it depends on has changed."""
    specs = samples.specs()
    key = (tuple(id(variable) for variable in variables), total_loss.key, repr(specs))
    return compiled(model, None, key, lambda: WholeModel(model, variables, total_loss, specs))


def moved_variables(function: Any) -> list[tf.Variable]:
    """Return the variables a `tf.function` with a signature might write: all it reads, if it writes any.

    In inference only a stateful recurrent layer, or a layer of the user's, writes at all.
    """
    graph = function.get_concrete_function().graph
    definition = graph.as_graph_def()
    nodes = [node.op for node in definition.node]
    nodes += [node.op for function in definition.library.function for node in function.node_def]
    return list(graph.variables) if any(op.startswith("Assign") for op in nodes) else []


@contextlib.contextmanager
def preserved(variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Put variables back, bit for bit, at the end of the block, also after an exception."""
    copies = [tf.identity(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, copies):
            variable.assign(value)


def run_in_full_precision(model: tf.keras.Model, run: Callable[[], Result]) -> Result:
    """Return `run()` traced in float32, or else, after a notice, in the model's own precision."""
    # The graph traced computes in float32 for good. Layers whose *weights* have 16 bits are left alone, and so is code
    # that spells them out, as `tf.cast(x, "bfloat16")` before a product with a weight: it does not run in float32.
    mixed = [layer for layer in _layers(model) if _is_mixed(layer)]
    policies = [layer.dtype_policy for layer in mixed]
    try:
        for layer in mixed:
            layer._set_dtype_policy("float32")
        return run()
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
        if not mixed:
            raise
        reason = str(error).split("\n")[0]
    finally:
        for layer, policy in zip(mixed, policies):
            layer._set_dtype_policy(policy)
    result = run()
    logging.warning(
        "Curvature of %r is measured in the model's own precision, in which it is rough, as float32 is refused: %s",
        model.name,
        reason,
    )
    return result


def _makes_masks(layer: tf.keras.layers.Layer) -> bool:
    """Whether a mask may begin at a layer: Keras's two that make masks, or a class that is not Keras's."""
    is_kerass = legacy_keras.package_of(type(layer).compute_mask) == "keras"
    makes = isinstance(layer, tf.keras.layers.Masking) or getattr(layer, "mask_zero", False)
    return makes or not is_kerass


def _layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    parts = [model, *model.submodules, *model.layers]
    layers = [part for part in parts if isinstance(part, tf.keras.layers.Layer)]
    return list({id(layer): layer for layer in layers}.values())


def _is_mixed(layer: tf.keras.layers.Layer) -> bool:
    return layer.compute_dtype in ("float16", "bfloat16") and layer.variable_dtype == "float32"
