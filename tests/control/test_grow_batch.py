"""Tests of growing the batch in place of decaying the learning rate."""

from __future__ import annotations

import pytest

from tflbt.control.grow_batch import check_growth, grown


@pytest.mark.parametrize(
    ("largest", "updates"),
    [(640, 16380), (3200, 14508), (5120, 14449), (10240, 14400), (16000, 14383)],
)
def test_the_papers_numbers_of_updates(largest, updates):
    """Table IV, column GG: 50,000 samples, milestones 30, 60 and 80 of 90 epochs, factor 5."""
    epochs = (30, 30, 20, 10)
    batches = [grown(128, n, factor=5, max_batch_size=largest)[0] for n in range(4)]
    counted = sum(e * 50_000 / batch for e, batch in zip(epochs, batches))
    assert counted == pytest.approx(updates, rel=0.004)


@pytest.mark.parametrize("largest", [128, 500, 640, 5000, 16000, 10**9])
@pytest.mark.parametrize("step", [1, 128])
def test_the_noise_scale_falls_by_the_factor_at_each_milestone(largest, step):
    for decays in range(5):
        batch, rate = grown(128, decays, factor=5.0, max_batch_size=largest, step=step)
        assert rate / batch == pytest.approx(5.0**-decays / 128)
        assert batch % step == 0
        assert 128 <= batch <= max(largest, 128)
        assert 0 < rate <= 1


@pytest.mark.parametrize(
    ("epochs", "factor", "largest", "said"),
    [
        ((), 5, 10, "epochs="),
        ((3, 2), 5, 10, "epochs="),
        ((0, 2), 5, 10, "epochs="),
        ((1.5,), 5, 10, "epochs="),
        ((1,), 1, 10, "factor=1"),
        ((1,), 5, 0, "max_batch_size=0"),
    ],
)
def test_arguments_out_of_range(epochs, factor, largest, said):
    with pytest.raises(ValueError, match=said):
        check_growth(epochs, factor, largest)
