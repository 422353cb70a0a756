"""What `LargeBatchModel.fit` and `evaluate` do before Keras's own: data, rules, the ranks' agreement, callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.control.tail import TAILS
from tflbt.data.batch_augmentation import BatchAugmentation
from tflbt.data.forms import is_arrays
from tflbt.data.iterator_ends import ending_at_once
from tflbt.training import (
    agreement,
    batch_scalars,
    keras_internals,
    keras_loop,
    split_batch,
)
from tflbt.training import tail as epoch_tail
from tflbt.training.batch_wise import check_stateful
from tflbt.training.housekeeping import AfterOthers, Housekeeping
from tflbt.training.interruption import interruption, position
from tflbt.training.ranks import ghost_groups, same_on_ranks, split_check
from tflbt.training.rules.batch_augmentation import Instances, gathered
from tflbt.training.rules.rule import Rule
from tflbt.training.sources import fit_arguments, fit_data
from tflbt.training.sources.rank_data import KERAS_BATCH_SIZE


@contextlib.contextmanager
def of_fit(
    model: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    rules: Iterable[Rule | BatchAugmentation | None],
    *,
    epochs: int,
    initial_epoch: int,
    validation_data: Any,
    validation_steps: int | None,
    shuffle: Any,
    seed: int,
    tail: str,
    callbacks: Any,
    verbose: Any,
    stall_limit: float | None,
    validation_freq: Any,
    workers: dict[str, Any],
    **of_data: Any,
) -> Iterator[dict[str, Any]]:
    """Prepares a `fit`, whose arguments these are, and watches over it; yields those of Keras's own.

    `rules` are all techniques, with None for those that are not used; `workers` goes on to Keras, and `of_data` to
    `fit_data.prepare`.
    """
    keras_loop.outside_of_functions("fit")
    keras_internals.require_compiled(model)
    checks.one_of("tail", tail, TAILS)
    fit_arguments.check(
        validation_freq, callbacks, verbose, shuffle, epochs=epochs, initial_epoch=initial_epoch, seed=seed,
        validation_steps=validation_steps, stall_limit=stall_limit, **of_data,
    )  # fmt: skip
    epochs = initial_epoch if keras_loop.has_ended_itself(callbacks) else epochs
    gathered_rules = gathered(*rules)
    instances = gathered_rules.find(Instances)
    data, validation_data = fit_data.prepare(
        x, y, sample_weight, model=model, reduction=model.reduction,
        validation_data=validation_data, validation_steps=validation_steps,
        augmentation=instances and instances.augmentation,
        epochs=epochs, initial_epoch=initial_epoch, shuffle=bool(shuffle), seed=seed,
        joined=tail == "carry", course=model.update_state.course, **of_data,
    )  # fmt: skip
    data = epoch_tail.start(model, tail, data)
    equal = {"epochs": epochs, "initial_epoch": initial_epoch, "seed": seed}
    equal.update(epoch_tail.facts(model, tail))
    with keras_loop.watched(model, stall_limit) as dog:
        agreement.build(model, data.spec)
        split_batch.start_rules(model, gathered_rules, data.spec)
        agreement.settle(model, data, equal, validation_data)
        check_stateful(model, data.plan)
        ghost_groups.start(model, data, tail)
        sub_batches = split_check.examine(model, data.sub_batches, data.plan.sub_batches)
        split_batch.start_plan(model, data.plan)
        done = position.take_up(model, initial_epoch, data)
        model.update_state.validation_steps_per_batch = data.validation_steps_per_batch
        paces = () if tail == "update" else (epoch_tail.Pace(epochs),)
        # Keras begins, and reads validation data, with single sub-batches; Housekeeping sets more for each epoch.
        with (
            keras_loop.ending_together(model),
            keras_loop.sub_batch_by_sub_batch(model),
            keras_internals.validation_reader(
                model, ending_at_once(validation_data), validation_steps, workers
            ),
            keras_internals.beginning_after(model, done),
            interruption.watching(model, callbacks, data, x),
            same_on_ranks.explained(model),
        ):
            yield {
                "x": ending_at_once(sub_batches),
                "epochs": epochs,
                "initial_epoch": initial_epoch,
                "steps_per_epoch": data.steps_per_epoch,
                "validation_data": validation_data,
                "validation_steps": validation_steps,
                "validation_freq": validation_freq,
                "class_weight": data.class_weight,
                "shuffle": shuffle,
                "verbose": verbose if model.reduction.rank == 0 else 0,
                "callbacks": keras_loop.callbacks_with(
                    Housekeeping(seed, dog, epochs),
                    callbacks,
                    model.reduction,
                    (*paces, AfterOthers(epochs)),
                ),
                **workers,
            }


@contextlib.contextmanager
def of_evaluation(
    model: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int | None,
    steps: int | None,
    shard: bool | None,
    callbacks: Any,
    verbose: Any,
) -> Iterator[dict[str, Any]]:
    """Prepares an `evaluate`, whose arguments these are, and watches over it; yields those of Keras's own."""
    keras_loop.outside_of_functions("evaluate")
    keras_internals.require_compiled(model)
    arguments = {"x": x, "steps": steps, "callbacks": callbacks, "verbose": verbose}
    if isinstance(callbacks, tf.keras.callbacks.CallbackList) and not is_arrays(x):
        # It comes from fit, which watches already.
        with keras_loop.sub_batch_by_sub_batch(model), batch_scalars.validating(model):
            yield {**arguments, "y": y, "sample_weight": sample_weight}
        return
    fit_arguments.check_loop(callbacks, verbose)
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None:
            checks.whole(name, value, at_least=1)
    plan = model.batch_plan
    size = plan.samples_a_rank_computes if plan else KERAS_BATCH_SIZE
    batches = fit_data.for_evaluation(
        model, x, y, sample_weight, batch_size or size, shard=shard, steps=steps
    )
    with (
        keras_loop.watched(model) as dog,
        keras_loop.sub_batch_by_sub_batch(model),
        same_on_ranks.explained(model),
    ):
        sub_batches = batches.data
        if model.reduction.size > 1:
            agreement.build(model, batches.spec)
            agreement.share(model, batches.facts, again=False)
            sub_batches = split_check.examine(model, sub_batches, 1)
        yield {
            **arguments,
            "x": ending_at_once(sub_batches),
            "callbacks": keras_loop.callbacks_with(
                Housekeeping(0, dog), callbacks, model.reduction
            ),
            "verbose": verbose if model.reduction.rank == 0 else 0,
        }
