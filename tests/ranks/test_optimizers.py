"""The optimizers under `hvd.DistributedOptimizer`."""

from __future__ import annotations

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest

from tests.optimizers import conftest as table
from tests.ranks.twins import K
from tflbt.optimizers import LayerWise


@pytest.mark.parametrize("case", table.CASES, ids=str)
def test_the_clone_that_horovod_makes_takes_the_same_steps(case):
    """`hvd.DistributedOptimizer` rebuilds an optimizer from its config: lists and numbers must be in it."""
    optimizer = case.make()
    optimizer.learning_rate = 0.3
    clone = hvd.DistributedOptimizer(optimizer)
    assert type(clone) is not type(optimizer) and isinstance(clone, type(optimizer))
    results = []
    for each in (optimizer, clone):
        net = table.network.__wrapped__()()
        for number in range(3):
            net.step(each, number)
        results.append(net.values())
    for mine, other in zip(*results):
        np.testing.assert_array_equal(mine, other)


def test_horovods_wrapper_goes_on_the_outside():
    with pytest.raises(ValueError, match="inner=SGD is wrapped already: give LayerWise the plain"):
        LayerWise(hvd.DistributedOptimizer(K.optimizers.SGD(0.1)))
    optimizer = hvd.DistributedOptimizer(LayerWise(K.optimizers.SGD(0.1)))
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner.learning_rate) == 0.25
