"""Tests of Algorithm 1 (ABS): against a second, naive writing of it, and its rules one by one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tflbt.control import AdaptiveBatch


def algorithm_1(eigenvalues, batch, alpha, beta, kappa, largest):
    """The printed algorithm, batch after each measurement; positive, finite eigenvalues only."""
    old, waited, batches = eigenvalues[0], 0, []
    for new in eigenvalues[1:]:
        waited += 1
        flag = new < old / alpha or waited == kappa
        if flag:
            batch = min(batch * beta, largest)
            waited = 0
        if new < old / alpha:
            old = new
        batches.append(batch)
    return batches


def run(machine, eigenvalues):
    """Batch sizes after each measurement but the first."""
    batches = []
    for value in eigenvalues:
        machine.measured(value)
        batches.append(machine.batch_size)
    return batches[1:]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_printed_algorithm(seed):
    random = np.random.default_rng(seed)
    eigenvalues = np.exp(random.normal(0, 1.0, 60) - np.arange(60) / 15).tolist()
    alpha, beta, kappa = (
        random.uniform(1.1, 3),
        int(random.integers(2, 4)),
        int(random.integers(2, 9)),
    )
    machine = AdaptiveBatch(8, 8 * beta**4, alpha=alpha, beta=beta, kappa=kappa)
    assert run(machine, eigenvalues) == algorithm_1(eigenvalues, 8, alpha, beta, kappa, 8 * beta**4)


def test_the_first_epochs_measurement_counts_as_the_authors():
    """Nothing becomes flatter: Algorithm 1's k = kappa = 10 after epochs 10, 20 and 30, whatever the reference is."""

    def grown_after(machine):
        return [epoch for epoch in range(1, 32) if machine.measured(5.0).reason]

    assert grown_after(AdaptiveBatch(128, 16_384, reference_counts=True)) == [10, 20, 30]
    initial = AdaptiveBatch(128, 16_384)
    initial.measured(5.0)
    assert grown_after(initial) == [10, 20, 30]


def test_a_first_measurement_that_is_not_positive_counts_but_is_no_reference():
    machine = AdaptiveBatch(4, 64, kappa=3, reference_counts=True)
    reasons = [machine.measured(v).reason for v in (-1.0, 8.0, 8.0, 3.0)]
    assert reasons == [None, None, "duration", "curvature"] and machine.reference == 3.0


def test_growth_by_curvature_moves_the_reference_and_by_duration_does_not():
    machine = AdaptiveBatch(4, 64, kappa=2)
    reasons = [machine.measured(v).reason for v in (8.0, 3.0, 3.0, 3.0, 1.4)]
    assert reasons == [None, "curvature", None, "duration", "curvature"]
    assert machine.reference == 1.4


def test_the_threshold_itself_is_not_below_it():
    machine = AdaptiveBatch(4, 64)
    assert [machine.measured(v).reason for v in (8.0, 4.0)] == [None, None]


def test_growth_gives_factors_for_learning_rate_and_share():
    machine = AdaptiveBatch(128, 16384, omega=4)
    machine.measured(1.0)
    growth = machine.measured(0.1)
    assert (growth.factor, machine.share(1.0)) == (2.0, 0.25)


def test_at_the_largest_batch_nothing_grows():
    machine = AdaptiveBatch(4, 8, kappa=1)
    assert [machine.measured(1.0).reason for _ in range(4)] == [None, "duration", None, None]
    assert (machine.batch_size, machine.growths, machine.at_largest) == (8, 1, True)


@pytest.mark.parametrize(
    ("beta", "largest", "batches"),
    [
        (2, 500, [256, 384, 384]),  # the largest is rounded down to a multiple of 128
        (1.5, 1024, [256, 384, 640]),  # 192, 384 and 576, rounded up
        (1.01, 1024, [256, 384, 512]),  # it always grows
    ],
)
def test_batches_are_multiples_of_ranks_and_sub_batches(beta, largest, batches):
    machine = AdaptiveBatch(128, largest, step=128, beta=beta, kappa=1)
    machine.measured(1.0)
    factors = []
    for batch in batches:
        before = machine.batch_size
        factors.append(machine.measured(1.0).factor)
        assert machine.batch_size == batch
        assert factors[-1] == batch / before


def test_the_learning_rate_grows_as_the_batch_did():
    machine = AdaptiveBatch(128, 3200, step=128, kappa=1)
    machine.measured(1.0)
    factors = [machine.measured(1.0).factor for _ in range(8)]
    assert math.prod(factors) == pytest.approx(25)
    assert machine.batch_size == 3200


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_measurement(value):
    machine = AdaptiveBatch(4, 64, kappa=2)
    reasons = [machine.measured(v).reason for v in (value, 8.0, value, 7.0, value, 7.0)]
    assert reasons == [None, None, None, None, None, "duration"]
    assert machine.reference == 8.0


def test_a_negative_eigenvalue_counts_but_is_never_flat():
    machine = AdaptiveBatch(4, 64, kappa=3)
    reasons = [machine.measured(v).reason for v in (-1.0, 8.0, -1.0, 0.0, -9.0, 3.0)]
    assert reasons == [None, None, None, None, "duration", "curvature"]


def test_its_state_goes_through_json_at_any_moment():
    values = np.exp(np.random.default_rng(1).normal(0, 1, 40)).tolist()
    whole = run(AdaptiveBatch(4, 4096, kappa=4), values)
    for cut in range(1, 39):
        first = AdaptiveBatch(4, 4096, kappa=4)
        run(first, values[:cut])
        second = AdaptiveBatch.from_state(json.loads(json.dumps(first.state())))
        for value, wanted in zip(values[cut:], whole[cut - 1 :]):
            second.measured(value)
            assert second.batch_size == wanted


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_batch_size": 64}, "max_batch_size=64 is less than batch_size=128"),
        ({"alpha": 1.0}, "alpha=1.0 must be more than 1"),
        ({"beta": 0.5}, "beta=0.5 must be more than 1"),
        ({"kappa": 0}, "kappa=0 must be a whole number"),
        ({"kappa": 1.5}, "kappa=1.5 must be a whole number"),
        ({"omega": 0.9}, "omega=0.9 must be at least 1"),
        ({"alpha": math.nan}, "alpha=nan"),
    ],
)
def test_arguments_out_of_range(wrong, said):
    with pytest.raises(ValueError, match=said):
        AdaptiveBatch(**{"batch_size": 128, "max_batch_size": 256, **wrong})
