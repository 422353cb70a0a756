"""The protocol of rules: what changes or observes an update, such as adversarial samples or a gradient statistic."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tflbt.data.user_functions import converted


class Rule:
    """A technique that takes part in every update: give it to `LargeBatchModel.fit(rules=[...])`.

    A subclass checks its options in its constructor and overrides the hooks that it needs; the others do nothing and
    cost nothing. One update calls, on every rank:

    1. `begin_update`; for each sub-batch `prepare`, `targets`, then `choose` (of one rule at most), then
       `observe_norm` and `observe`; `end_sub_batches`;
    2. once, `scalars`, whose sums over the ranks travel with the gradients in the one all-reduce;
    3. where there was any sample, `observe_update` and `change_gradients`, then the optimizer takes its step, then
       `after_update`.

    These hooks are traced into the compiled update: they are made of TensorFlow operations, and what lasts from one
    update to the next is in `tf.Variable`s, created in `start`. Variables that are attributes (also in lists) are saved
    in checkpoints and restored from them, so they must be the same on all ranks between updates. A rule takes part
    in one training at a time.

    Attributes:
        name: What messages and checkpoints call it; default the class's name.
        scope: The samples whose losses `choose` compares: "sub_batch" (default), or "update" for those of the whole
            update, over sub-batches and ranks, at the price of one more forward pass.
        model: The LargeBatchModel of the last `start`; None before.

    Example:
        >>> from tflbt.training import LargeBatchModel, Rule
        >>> class GradientNorm(Rule):
        ...     def start(self, model, spec):
        ...         super().start(model, spec)
        ...         self.norm = tf.Variable(0.0, trainable=False)
        ...     def observe_update(self, gradients, samples, scalars):
        ...         self.norm.assign(tf.linalg.global_norm(gradients))
        ...     def columns(self, epoch):
        ...         return {"gradient_norm": float(self.norm)}
        >>> inputs = tf.keras.Input([1])
        >>> unit = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        >>> model, rule = LargeBatchModel(inputs, unit(inputs)), GradientNorm()
        >>> model.compile("sgd", "mse")
        >>> _ = model.fit(tf.ones([8, 1]), tf.ones([8, 1]), verbose=0, rules=[rule])
        >>> rule.columns(epoch=0)  # the derivative of (w - 1)^2 at w = 0
        {'gradient_norm': 2.0}
    """

    name: ClassVar[str] = "Rule"
    scope: str = "sub_batch"
    model: Any = None

    def __init_subclass__(cls) -> None:
        """Names a rule after its class, unless it has a name."""
        cls.name = vars(cls).get("name", cls.__name__)

    @property
    def idle(self) -> bool:
        """True if, with these options, the training is the same as without the rule, which then takes no part."""
        return False

    @property
    def options(self) -> Any:
        """What must be equal on all ranks; default the options of a dataclass."""
        fields: Any = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        return {field.name: repr(getattr(self, field.name)) for field in fields if field.init}

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables that a checkpoint keeps: all that are attributes, in the order of their creation."""
        values = tf.nest.flatten(list(vars(self).values()))
        return [value for value in values if isinstance(value, tf.Variable)]

    def start(self, model: Any, spec: Any) -> None:
        """Begins a `fit`, before what a checkpoint kept is restored: creates variables, or resets them.

        Args:
            model: The model, built and compiled; call `super().start(model, spec)` to have it as `self.model`.
            spec: What a sub-batch looks like, as nested `tf.TensorSpec`s.

        Raises:
            ValueError: If the model or the data are not suited.
        """
        self.model = model
        if self.scope == "update" and _overrides(self, "choose"):
            self.require_dense(
                spec, "compares the samples of a whole update, whose inputs it keeps"
            )

    def require_dense(self, spec: Any, why: str) -> None:
        """Raises ValueError if a part of `spec` is sparse or ragged; `why` says what the rule does with it."""
        found = [
            type(part).__name__.removesuffix("Spec")
            for part in tf.nest.flatten(spec)
            if isinstance(part, (tf.SparseTensorSpec, tf.RaggedTensorSpec))
        ]
        if found:
            raise ValueError(
                f"{self.name}={type(self).__name__}(...) {why}, which must be dense, but there is a {found[0]}: give "
                "dense arrays (tf.sparse.to_dense(x), x.to_tensor())."
            )

    def begin_epoch(self, epoch: int) -> None:
        """Begins an epoch, counted from 0; not traced."""

    def begin_update(self) -> None:
        """Begins an update, which may turn out to have no sub-batch."""

    def end_sub_batches(self) -> list[Any]:
        """Follows the update's sub-batches, also where there was none.

        Returns:
            What must be done before the update goes on, such as assignments.
        """
        return []

    def prepare(self, step: tf.Tensor, data: Any) -> Any:
        """Changes a sub-batch before it is computed on.

        Args:
            step: Its number among this rank's in the update; the update's number is `step * ranks + rank`.
            data: (x, y, sample_weight) or less.

        Returns:
            As many samples, in the same structure.
        """
        return data

    def targets(self, step: tf.Tensor, data: Any) -> Any:
        """What the loss of a sub-batch is computed of in place of its y, which metrics go on to see; None: its y.

        Args:
            step: As of `prepare`.
            data: What `prepare` returned.
        """
        return None

    def choosing(self) -> tf.Tensor:
        """Whether samples are chosen in this update, a bool scalar; where not, `choose` costs nothing."""
        return tf.constant(True)

    def choose(self, losses: tf.Tensor) -> tf.Tensor:
        """Which samples count in the gradient, bool `[n]`, by the losses `[n]` of those that `scope` compares."""
        raise NotImplementedError

    def observe_norm(self, norm: tf.Tensor, samples: tf.Tensor) -> None:
        """Sees the length of the mean gradient over a sub-batch's samples that count, for less than `observe` costs.

        Args:
            norm: |gradient| over all trainable variables, a float32 scalar, not scaled.
            samples: Their number, a float32 scalar, at least 0.
        """

    def observe(self, gradients: list[tf.Tensor], samples: tf.Tensor) -> None:
        """Sees the mean gradient over a sub-batch's samples that count.

        Args:
            gradients: One dense tensor per trainable variable, not scaled.
            samples: Their number, a float32 scalar, at least 0.
        """

    def scalars(self) -> list[tf.Tensor]:
        """Small tensors of this rank, after its sub-batches, to be summed over the ranks as float32."""
        return []

    def observe_update(
        self, gradients: list[tf.Tensor], samples: tf.Tensor, scalars: list[tf.Tensor]
    ) -> None:
        """Sees the gradient that the optimizer gets, before its clipping; equal on all ranks.

        Args:
            gradients: The mean over the update's samples, one dense tensor per trainable variable. Not finite where
                float16 overflowed, and the optimizer will skip the update.
            samples: Samples of all ranks that count, a float32 scalar.
            scalars: The sums of `scalars()` over the ranks.
        """

    def change_gradients(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the gradients that the optimizer gets in place of these; the same on all ranks."""
        return gradients

    def after_update(self) -> None:
        """Follows the optimizer's step."""

    def columns(self, epoch: int) -> dict[str, Any]:
        """Values by column for the row of an epoch that has ended, counted from 0, in metrics.csv."""
        return {}


class Rules:
    """The rules of a training, in the order in which they act, without those that are idle."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rule for rule in rules if not rule.idle)
        names = [rule.name for rule in self]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"rules holds {', '.join(sorted(twice))} more than once: give one.")
        choosers = [rule for rule in self if _overrides(rule, "choose")]
        if len(choosers) > 1:
            raise ValueError(
                f"rules holds {' and '.join(rule.name for rule in choosers)}, which both choose samples: give one."
            )
        self.chooser: Any = choosers[0] if choosers else None
        aiming = [rule for rule in self if _overrides(rule, "targets")]
        if len(aiming) > 1 or (aiming and self.chooser and self.chooser.scope == "update"):
            others = aiming[1:] or choosers
            raise ValueError(
                f"rules holds {aiming[0].name} and {others[0].name}, which do not go together: several rules cannot "
                "change the targets, nor can scope='update' choose by the loss of changed ones. Give one."
            )
        self.aiming: Any = aiming[0] if aiming else None
        self.observers = [rule for rule in self if _overrides(rule, "observe")]
        self.norm_observers = [rule for rule in self if _overrides(rule, "observe_norm")]

    def __iter__(self) -> Iterator[Rule]:
        """The rules that take part."""
        return iter(self._rules)

    def same_as(self, other: Rules) -> bool:
        """True if the same objects take part in the same order."""
        return [id(rule) for rule in self] == [id(rule) for rule in other]

    def find(self, kind: type) -> Any:
        """The rule of a class, or None."""
        return next((rule for rule in self if isinstance(rule, kind)), None)

    def choosing(self) -> tf.Tensor:
        """Whether the chooser chooses in this update."""
        return converted(self.chooser.choosing)()

    def choose(self, losses: tf.Tensor) -> tf.Tensor:
        """Which samples the chooser chooses, given their losses."""
        return converted(self.chooser.choose)(losses)

    def prepare(self, step: tf.Tensor, data: Any) -> Any:
        """A sub-batch as all rules leave it."""
        for rule in self:
            data = converted(rule.prepare)(step, data)
        return data

    def begin_update(self) -> None:
        """Tells all rules that an update begins."""
        for rule in self:
            converted(rule.begin_update)()

    def end_sub_batches(self, total: Any) -> Any:
        """What the sub-batches added up to, nested tensors, after all that rules must do before it is used."""
        done = [step for rule in self for step in converted(rule.end_sub_batches)()]
        if not done:
            return total
        with tf.control_dependencies(done):
            return tf.nest.map_structure(tf.identity, total)

    def targets(self, step: tf.Tensor, data: Any) -> Any:
        """What a sub-batch's loss is computed of; None: its own y."""
        return None if self.aiming is None else converted(self.aiming.targets)(step, data)

    def observe(self, gradients: list[tf.Tensor], samples: tf.Tensor) -> None:
        """Shows every observer the gradients of a sub-batch."""
        for rule in self.observers:
            converted(rule.observe)(gradients, samples)

    def observe_norm(self, norm: tf.Tensor, samples: tf.Tensor) -> None:
        """Shows the length of a sub-batch's gradient to every rule that observes it."""
        for rule in self.norm_observers:
            converted(rule.observe_norm)(norm, samples)

    def scalars(self) -> list[list[tf.Tensor]]:
        """What each rule has to sum over the ranks."""
        return [
            [tf.cast(value, tf.float32) for value in converted(rule.scalars)()] for rule in self
        ]

    def before_step(
        self, gradients: list[tf.Tensor], samples: tf.Tensor, scalars: list[list[tf.Tensor]]
    ) -> list[tf.Tensor]:
        """Shows all rules the update's gradients; returns those that the optimizer gets."""
        for rule, sums in zip(self, scalars):
            converted(rule.observe_update)(gradients, samples, sums)
        for rule in self:
            gradients = converted(rule.change_gradients)(gradients)
        return gradients

    def after_update(self) -> None:
        """Tells all rules that the optimizer took its step."""
        for rule in self:
            converted(rule.after_update)()

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of all rules."""
        return [variable for rule in self for variable in rule.variables]

    def state(self) -> dict[str, list[np.ndarray]]:
        """What a checkpoint keeps: the values of variables, by the rule's name."""
        return {
            rule.name: [np.asarray(v.numpy()) for v in rule.variables]
            for rule in self
            if rule.variables
        }

    def restore(self, state: dict[str, list[Any]]) -> None:
        """Gives the variables of rules that have started the values of a checkpoint, where it has any."""
        for rule in self:
            if rule.name not in state:
                continue
            values = [np.asarray(value) for value in state[rule.name]]
            shapes, found = [v.shape for v in values], [tuple(v.shape) for v in rule.variables]
            if shapes != found:
                raise ValueError(
                    f"the checkpoint's variables of {rule.name} have the shapes {shapes}, now they have {found}: "
                    "resume with the configuration that wrote it."
                )
            for variable, value in zip(rule.variables, values):
                variable.assign(value)


def _overrides(rule: Rule, hook: str) -> bool:
    return getattr(type(rule), hook) is not getattr(Rule, hook)
