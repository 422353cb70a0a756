"""The properties of a model whose batch is split: its plan, what takes part in an update, what an update keeps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.control.batch_plan import BatchPlan
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.distributed import comm
from tflbt.training import keras_internals, keras_loop
from tflbt.training.batch_wise import check_stateful
from tflbt.training.rules.adversarial import FGSM, check_share
from tflbt.training.rules.batch_augmentation import Instances
from tflbt.training.rules.rule import Rules
from tflbt.training.rules.small_loss import SmallLossDiscarding
from tflbt.training.update_state import UpdateState


class SplitBatchModel(tf.keras.Model):
    """A Keras model that knows how its batch is split and what takes part in its updates; see `LargeBatchModel`."""

    # Keras sets them; what they return is a function of an iterator.
    train_function: Any
    test_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The prefix keeps them apart from the attributes of a class that is derived from this one.
        self._tflbt_plan: BatchPlan | None = None
        self._tflbt_reduction = comm.EVERYONE
        self._tflbt_update_state = UpdateState()
        self._tflbt_rules = Rules()

    @property
    def reduction(self) -> comm.Reduction:
        """How gradients are summed over ranks; from `hvd.DistributedOptimizer` if one was compiled."""
        return self._tflbt_reduction

    @property
    def sub_batches_variable(self) -> tf.Variable:
        """Sub-batches that each rank takes for the current update; Keras lowers it for the last of an epoch."""
        return keras_internals.steps_per_execution(self)

    @property
    def steps_per_execution(self) -> Any:
        """Keras's name for the number of sub-batches; assign `batch_size` instead."""
        return self.sub_batches_variable

    @steps_per_execution.setter
    def steps_per_execution(self, steps: Any) -> None:
        raise ValueError(keras_loop.STEPS.format(f"steps_per_execution={steps!r}"))

    @property
    def autotune_steps_per_execution(self) -> bool:
        """False: Keras may not change the number of sub-batches."""
        return False

    @autotune_steps_per_execution.setter
    def autotune_steps_per_execution(self, tune: bool) -> None:
        if tune:
            raise ValueError(keras_loop.STEPS.format(f"autotune_steps_per_execution={tune!r}"))

    @property
    def update_state(self) -> UpdateState:
        """What an update keeps besides the model; new after each `compile`."""
        return self._tflbt_update_state

    @property
    def samples_seen(self) -> int:
        """Samples of all ranks that went into updates since `compile`; may be assigned on resuming."""
        return int(self.update_state.samples_seen)

    @samples_seen.setter
    def samples_seen(self, samples: int) -> None:
        self.update_state.samples_seen.assign(samples)

    @property
    def rules(self) -> Rules:
        """What changes or observes the updates of the last `fit`; those that change nothing are left out."""
        return self._tflbt_rules

    @property
    def adversarial(self) -> FGSM | None:
        """How the last `fit` makes adversarial samples."""
        return self.rules.find(FGSM)

    @property
    def adversarial_share(self) -> float:
        """Share of an update's samples that are adversarial; may be assigned between updates, without a new trace.

        0 without `fit(adversarial=...)`, and then stays so. A share that is not in [0, 1] raises ValueError.
        """
        return 0.0 if self.adversarial is None else self.adversarial.share_now

    @adversarial_share.setter
    def adversarial_share(self, share: float) -> None:
        check_share(share)
        if self.adversarial is not None:
            self.adversarial.share_now = share

    @property
    def small_loss(self) -> SmallLossDiscarding | None:
        """How the last `fit` discards samples with small losses; None where it discards nothing."""
        return self.rules.find(SmallLossDiscarding)

    @property
    def batch_augmentation(self) -> BatchAugmentation:
        """How many instances of each sample an update of the last `fit` has, and where."""
        instances = self.rules.find(Instances)
        return BatchAugmentation() if instances is None else instances.augmentation

    @property
    def batch_plan(self) -> BatchPlan | None:
        """How the global batch is split now; None before the first `fit`."""
        return self._tflbt_plan

    @property
    def batch_size(self) -> int | None:
        """Samples per update over all ranks; None before the first `fit`.

        May be assigned between updates or epochs: the number of sub-batches changes, their size does not, and
        nothing is traced again. A size that does not divide raises ValueError naming the nearest sizes that do.
        """
        return None if self._tflbt_plan is None else self._tflbt_plan.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        if self._tflbt_plan is None:
            raise ValueError(
                f"batch_size={batch_size} was assigned before fit: give it to fit, and assign it from a callback. "
                "(A class derived from LargeBatchModel needs another name for an attribute of its own.)"
            )
        take_plan(self, self._tflbt_plan.with_batch_size(batch_size))

    def restore_rules(self, state: dict[str, Any]) -> None:
        """Gives the rules of the next `fit` the state that a checkpoint kept of them."""
        self.update_state.restored_rules = state


def start_rules(model: SplitBatchModel, rules: Rules, spec: Any) -> None:
    """Starts the rules of a `fit`; where they are others than before, the update is traced anew."""
    if not rules.same_as(model.rules) or any(rule.model is not model for rule in rules):
        model.train_function = None
    model._tflbt_rules = rules
    for rule in rules:
        rule.start(model, spec)
    state = model.update_state
    restored, state.restored_rules = state.restored_rules, {}
    rules.restore(restored)


def start_plan(model: SplitBatchModel, plan: BatchPlan) -> None:
    """Notes how the batches of a `fit` are split; the number of sub-batches is set as each epoch begins."""
    model._tflbt_plan = plan
    model.update_state.nominal.assign(float(plan.samples_a_rank_computes))


def take_plan(model: SplitBatchModel, plan: BatchPlan) -> None:
    """Splits batches in another way from the next update on."""
    if model.batch_plan is None or model.batch_plan.sub_batches == 1:
        check_stateful(model, plan)
    if model.update_state.refusal and plan.sub_batches > 1:
        raise ValueError(model.update_state.refusal)
    model._tflbt_plan = plan
    model.sub_batches_variable.assign(plan.sub_batches)
