"""Two ranks with different samples give what one process gives with all of them."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf
import tflbt
from tflbt.curvature import (hessian_vector_product, spectral_density, top_eigenvalue,
                             top_eigenvalues, trace)

tflbt.init()
rank, ranks = tflbt.rank(), tflbt.size()


class Uncut(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = tf.keras.layers.Dense(5, "relu")
        self.top = tf.keras.layers.Dense(3)

    def call(self, inputs):
        return self.top(self.hidden(inputs)) * 0.5


def build(uncut):
    tf.keras.utils.set_random_seed(3)
    model = Uncut() if uncut else tf.keras.Sequential(
        [tf.keras.layers.Dense(5, "relu", input_shape=(4,)),
         tf.keras.layers.Dense(3, kernel_regularizer=tf.keras.regularizers.L2(0.1))])
    model(np.zeros((1, 4)))
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


rng = np.random.default_rng(0)
x, y, w = rng.standard_normal((21, 4)), rng.integers(0, 3, 21), rng.random(21)
values, models = [], [build(False), build(True)]
for share in (13, 21, 0):
    if ranks == 1:
        mine = slice(None)
    else:
        mine = slice(0, share) if rank == 0 else slice(share, 21)
    data = dict(x=x[mine], y=y[mine], sample_weight=w[mine], sub_batch_size=4 if share == 21 else 16)
    for model in models:
        for options in ({}, {"method": "exact", "layers": "all"},
                        {"method": "exact", "tolerance": 1e-2, "iterations": 50}):
            result = top_eigenvalue(model, **data, **options)
            values.append([result.eigenvalue, result.residual, result.iterations])
        if share == 21:
            continue
        for layers in ("all", "last_1"):
            options = dict(data, layers=layers, regularization=True)
            for result in top_eigenvalues(model, k=2, which="smallest", tolerance=0.05, **options):
                values.append([result.eigenvalue, result.residual, result.iterations])
            estimate = trace(model, **options)
            values.append([estimate.trace, estimate.standard_error, estimate.products])
            density = spectral_density(model, iterations=6, **options)
            values.append([density.moment(2), density.nodes.max(), 6])
            vector = [np.ones(part.shape) for part in result.eigenvector]
            image = hessian_vector_product(model, vector=vector, **options)
            values.append([float(image[0].sum()), 0.0, 0])
print("RESULT", rank, json.dumps(values), flush=True)
"""


@pytest.mark.ranks(2)
def test_two_ranks_equal_one(run_ranks):
    def results(n):
        lines = [
            x.split("RESULT ")[1] for x in run_ranks(SCRIPT, n).stdout.split("\n") if "RESULT " in x
        ]
        return {line[0]: json.loads(line[2:]) for line in lines}

    one, two = results(1)["0"], results(2)
    assert two["0"] == two["1"]
    for alone, shared in zip(one, two["0"]):
        assert shared[0] == pytest.approx(alone[0], rel=1e-3, abs=1e-5)
        assert shared[2] == alone[2]
