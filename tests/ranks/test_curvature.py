"""Two ranks with different samples give what one rank gives with all of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ranks.twins import SETS, K
from tflbt.curvature import (
    hessian_vector_product,
    spectral_density,
    top_eigenvalue,
    top_eigenvalues,
    trace,
)
from tflbt.distributed import comm

RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((21, 4)), RNG.integers(0, 3, 21), RNG.random(21)


class Uncut(K.Model):
    """A model whose layers the measurements cannot tell apart."""

    def __init__(self):
        super().__init__()
        self.hidden = K.layers.Dense(5, "relu")
        self.top = K.layers.Dense(3)

    def call(self, inputs):
        return self.top(self.hidden(inputs)) * 0.5


def sequential():
    regularizer = K.regularizers.L2(0.1)
    hidden = K.layers.Dense(5, "relu", input_shape=(4,))
    return K.Sequential([hidden, K.layers.Dense(3, kernel_regularizer=regularizer)])


@pytest.fixture(params=[sequential, Uncut], ids=["sequential", "uncut"])
def build(request):
    """Builds the same model each time."""

    def make():
        K.utils.set_random_seed(3)
        net = request.param()
        net(np.zeros((1, 4)))
        net.compile("sgd", K.losses.SparseCategoricalCrossentropy(from_logits=True))
        return net

    return make


def measured(model, mine, sub_batch_size, eigenvalue_only):
    """The figures of every measurement: the first of each is the quantity, the last a count."""
    data = {
        "x": X[mine],
        "y": Y[mine],
        "sample_weight": W[mine],
        "sub_batch_size": sub_batch_size,
    }
    values = []
    for options in (
        {},
        {"method": "exact", "layers": "all"},
        {"method": "exact", "tolerance": 1e-2, "iterations": 50},
    ):
        result = top_eigenvalue(model, **data, **options)
        values.append([result.eigenvalue, result.residual, result.iterations])
    if eigenvalue_only:
        return values
    for layers in ("all", "last_1"):
        options = dict(data, layers=layers, regularization=True)
        for result in top_eigenvalues(model, k=2, which="smallest", tolerance=0.05, **options):
            # How long copies are looked for may hang on a rounding.
            values.append([result.eigenvalue, result.residual, 0])
        estimate = trace(model, products=6, **options)
        values.append([estimate.trace, estimate.standard_error, estimate.products])
        density = spectral_density(model, iterations=6, **options)
        values.append([density.moment(2), density.nodes.max(), 6])
        vector = [np.ones(part.shape) for part in result.eigenvector]
        image = hessian_vector_product(model, vector=vector, **options)
        values.append([float(image[0].sum()), 0.0, 0])
    return values


def test_two_ranks_equal_one(build, rank):
    """Rank 0 has 13 of 21 samples, all, or none."""
    model = build()
    with comm.process_set_scope(SETS[rank]):
        whole = {size: measured(model, slice(None), size, size == 4) for size in (4, 16)}
    # The same model: nothing compiled for one rank is taken for two.
    for share in (13, 21, 0):
        size = 4 if share == 21 else 16
        mine = slice(0, share) if rank == 0 else slice(share, 21)
        found = measured(model, mine, size, size == 4)
        here, there = comm.gather_objects(found, "figures")
        assert here == there
        for figures, wanted in zip(found, whole[size]):
            assert figures[0] == pytest.approx(wanted[0], rel=1e-3, abs=1e-5)
            assert figures[2] == wanted[2]
