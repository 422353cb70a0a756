"""A function that was compiled for other ranks than there are is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.distributed import membership
from tflbt.distributed.comm import Reduction
from tflbt.training import LargeBatchModel

X = np.ones([4, 2], "float32")


def test_ranks_that_changed_since_the_trace_are_refused_unless_they_may(monkeypatch):
    inputs = tf.keras.Input([2])
    model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], batch_size=4, verbose=0)
    model.evaluate(X, X[:, :1], verbose=0)
    monkeypatch.setattr(Reduction, "size", 2)
    for make, what in (
        (model.make_train_function, "updates"),
        (model.make_test_function, "evaluation"),
    ):
        with pytest.raises(ValueError, match=f"{what} .*rank 0 of 1.* rank 0 of 2.*tflbt.elastic"):
            make()
    monkeypatch.setenv(membership.VARIABLE, "1")
    assert model.make_train_function() is model.train_function  # graphs read variables there
    monkeypatch.delenv(membership.VARIABLE)
    model.compile("sgd", "mse")
    model.make_train_function()  # a new one
