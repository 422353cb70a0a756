"""`train_on_batch` and `test_on_batch` over all ranks, each of which gives its own batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tflbt.data import forms
from tflbt.distributed import comm
from tflbt.training import agreement, keras_internals, keras_loop
from tflbt.training.ranks import layer_states, same_on_ranks, split_check
from tflbt.training.update_state import TrainingModel

# All weights are compared in every so many calls: that costs a pass over them.
CALLS = 16


@contextlib.contextmanager
def of_all_ranks(model: TrainingModel, x: Any, y: Any, *, training: bool = True) -> Iterator[None]:
    """Prepares a single batch: the ranks agree as before a `fit`, and the batch is taken as a whole."""
    keras_internals.require_compiled(model)
    same, nominal = model.update_state.same, model.update_state.nominal
    arrays = forms.pack(x, y)
    samples = float(forms.count(tf.nest.flatten(arrays)[0]))
    with (
        keras_loop.watched(model),
        keras_loop.sub_batch_by_sub_batch(model),
        same_on_ranks.explained(model),
    ):
        if model.reduction.size == 1:
            nominal.assign(samples)
        else:
            if not same.settled:
                spec = tf.nest.map_structure(tf.type_spec_from_value, arrays)
                agreement.build(model, spec)
                model.update_state.begin_metrics()
                agreement.share(model, {}, again=False)
                nominal.assign(comm.broadcast_object(samples, "tflbt.nominal", model.reduction))
                split_check.examine(model, [arrays], 1)
            if same.calls % CALLS == 0 or not training:
                layer_states.agree(model)
                same_on_ranks.begin(model, same_on_ranks.state(model, training=training))
            same.calls += training
        yield
