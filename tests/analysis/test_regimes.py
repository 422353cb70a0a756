"""Regimes of batch sizes on the paper's own numbers, at its borders, and where runs do not decide."""

from __future__ import annotations

import math

import pytest

from tflbt.analysis import Run, regime_line, regimes

NAN = math.nan
LINEAR = {"linear_scaling": True}
# Baselines of the paper's table 2; it gives no losses.
IMAGENET = Run(256, 0.759, 1.0, 90)
MNIST = Run(256, 0.992, 0.03, 30)
CIFAR = Run(128, 0.939, 0.3, 200)


def test_imagenet_as_in_table_2():
    """[2K, 64K] large, (64K, 1.28M) huge: 75.9% at 64K (Kumar et al.), at best 73.37% at 128K (table 4)."""
    table_4 = [0.7292, 0.7337, 0.7308, 0.7282, 0.7314, 0.7330, 0.7314, 0.7282]
    found = regimes(
        IMAGENET,
        [
            Run(1024, 0.759, 1.0, 90, **LINEAR),
            Run(2048, 0.75, 1.0, 90, **LINEAR),
            Run(32768, 0.767, 1.0, 90),
            Run(65536, 0.759, 1.0, 90),
            *(Run(131072, accuracy, 1.1, 90) for accuracy in table_4),
            Run(819200, 0.000977, NAN, 90),
            Run(819200, 0.1895, 4.0, 90),
            Run(819200, 0.718, 1.2, 10000),  # more epochs do not help (section 4.1)
        ],
        1281167,
    )
    assert (found.small_up_to, found.large_from) == (1024, 2048)
    assert (found.huge_above, found.huge_from) == (65536, 131072)
    named = {
        "small": (1, 256, 1024),
        "small or large": (1025, 2047),
        "large": (2048, 32768, 40000, 65536),
        "large or huge": (65537, 131071),
        "huge": (131072, 256 * 1024, 819200, 1281166),
        "full": (1281167, 2000000),
    }
    for regime, sizes in named.items():
        assert {found.of(size) for size in sizes} == {regime}
    assert regime_line(found, 131072) == (
        "batch 131,072 is huge: the best of its 8 runs, 0.7337, is less than 0.75521, 99.5% of the baseline's 0.759 "
        "(batch 256), in as many epochs; no technique in these runs reaches it from batch 131,072 on"
    )
    assert "reaches it from batch 131,072 on" in regime_line(found, 256 * 1024)


def test_mnist_as_in_table_2():
    """[2K, 8K] large, (8K, 60K) huge. 98.7% at 32K is 0.004 points short of 99.5% of 99.2%."""
    runs = [
        Run(2048, 0.98, 0.06, 30, **LINEAR),
        Run(8192, 0.992, 0.03, 30),
        Run(8192, NAN, NAN, 2, **LINEAR),  # diverges
        Run(8192, 0.994, 0.02, 30),
        Run(32768, 0.958, 0.2, 30),
        Run(32768, 0.987, 0.05, 30),
        Run(32768, 0.9916, 0.04, 1000),  # figure 18: enough, but not in 30 epochs
        Run(60000, 0.983, 0.07, 1000),
    ]
    found = regimes(MNIST, runs, 60000)
    assert found.target == pytest.approx(0.98704)
    names = [found.of(size) for size in (256, 2048, 8192, 16384, 32768, 59999, 60000)]
    assert names == ["small", "large", "large", "large or huge", "huge", "huge", "full"]
    assert regime_line(found, 8192) == (
        "batch 8,192 is large: 0.994 is at least 99.5% of the baseline's 0.992 (batch 256) in as many epochs; "
        "linear scaling alone fails at batch 2,048"
    )
    assert regime_line(found, 60000) == (
        "batch 60,000 is full: its run, 0.983, is less than 0.98704, 99.5% of the baseline's 0.992 (batch 256), in "
        "1000 epochs against 30; an update sees all 60,000 training samples"
    )
    better = regimes(MNIST, [*runs, Run(32768, 0.9871, 0.05, 30)], 60000)
    assert better.of(32768) == "large" and better.of(32769) == "large or huge"


def test_a_full_batch_is_full_whatever_it_reaches():
    for accuracy in (0.9258, 0.95):  # figure 20: at best 92.58%
        assert regimes(CIFAR, [Run(50000, accuracy, 0.3, 200)], 50000).of(50000) == "full"
    assert regimes(CIFAR, [Run(50000, 0.9258, 0.3, 5000)]).of(50000) == "huge"  # samples not known


def test_the_very_border_counts():
    """At least 99.5%, at most 1.2 times; float32's rounding of either is no failure."""
    baseline = Run(100, 0.8, 0.5, 10)
    for accuracy, loss, enough in (
        (0.796, 0.6, True),
        (0.796 - 4e-8, 0.6 + 5e-8, True),
        (0.79599, 0.6, False),
        (0.796, 0.60001, False),
    ):
        found = regimes(baseline, [Run(200, accuracy, loss, 10, **LINEAR)])
        assert (found.small_up_to, found.large_from) == ((200, None) if enough else (100, 200))


def test_the_loss_counts_for_large_but_not_for_huge():
    found = regimes(MNIST, [Run(4096, 0.992, 0.04, 30, **LINEAR)])
    assert found.of(4096) == "large"
    assert found.of(4097) == "large or huge"


def test_without_runs_only_the_baseline_is_known():
    found = regimes(MNIST, [])
    assert found.of(256) == "small" and found.of(257) == "small, large or huge"
    assert regime_line(found, 256) == "batch 256 is small: it is the baseline, with 0.992"
    line = regime_line(found, 512)
    assert line.startswith("batch 512 is small, large or huge: it was not run; ")
    assert "would tell small from large" in line and "would tell large from huge" in line


def test_a_batch_that_reached_without_linear_scaling_alone_may_be_small():
    found = regimes(MNIST, [Run(8192, 0.9927, 0.02, 30)])
    assert found.of(8192) == "small or large" and found.of(8193) == "small, large or huge"
    assert found.of(1024) == "small or large"


def test_linear_scaling_alone_cannot_show_a_batch_to_be_huge():
    found = regimes(MNIST, [Run(8192, 0.9, 0.5, 30, **LINEAR)])
    assert found.huge_from is None and found.of(8192) == "large or huge"
    assert regimes(MNIST, [*found.runs, Run(8192, 0.9, 0.5, 30)]).of(8192) == "huge"


@pytest.mark.parametrize("linear", [True, False])
def test_epochs_decide_what_a_run_shows(linear):
    def bounds(accuracy, loss, epochs):
        run = Run(1024, accuracy, loss, epochs, linear)
        found = regimes(MNIST, [run])
        return (found.small_up_to, found.large_from) if linear else found.of(1024)

    good, bad, unknown = (
        ((1024, None), (256, 1024), (256, None))
        if linear
        else ("small or large", "huge", "small, large or huge")
    )
    assert bounds(0.99, 0.03, 30) == bounds(0.99, 0.03, 20) == good
    assert bounds(0.9, 0.5, 30) == bounds(0.9, 0.5, 60) == bounds(NAN, NAN, 3) == bad
    assert bounds(0.99, 0.03, 31) == bounds(0.9, 0.5, 29) == unknown


def test_one_run_that_reaches_is_enough_and_speaks_for_smaller_batches():
    found = regimes(
        MNIST, [Run(1024, 0.9, 0.5, 30), Run(2048, 0.9, 0.5, 30), Run(2048, 0.99, 0.03, 30)]
    )
    assert found.of(1024) == found.of(2048) == "small or large"
    again = regimes(MNIST, [Run(512, 0.9, 0.5, 30, **LINEAR), Run(1024, 0.99, 0.03, 30, **LINEAR)])
    assert again.of(512) == again.of(1024) == "large" and again.small_up_to == 256


def test_numbers_that_cannot_be_are_told():
    with pytest.raises(ValueError, match="accuracy=99.2 must be between 0 and 1, not in percent"):
        Run(256, 99.2, 0.03, 30)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        Run(0, 0.9, 0.03, 30)
    with pytest.raises(ValueError, match="baseline=.* diverged or has no accuracy"):
        regimes(Run(256, NAN, NAN, 30), [])
    with pytest.raises(ValueError, match="training_samples=0 must be at least 1"):
        regimes(MNIST, [], 0)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        regimes(MNIST, []).of(0)
