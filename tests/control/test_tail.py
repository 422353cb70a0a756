"""What becomes of samples that fill no batch, and how many updates the papers' trainings have."""

from __future__ import annotations

import pytest

from tflbt.control.tail import TAILS, Tail, count_updates, total_updates


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("batches", [[16] * 4, [16, 48, 8, 8], [50] * 3, [5] * 3, [48, 48, 4]])
def test_counts_are_those_of_updates_taken_one_by_one(tail, batches):
    end, found = Tail(tail, 50), []
    for number, batch in enumerate(batches):
        end.begin(last_epoch=number == len(batches) - 1)
        sizes, last = [], False
        while not last:
            last = end.ends_with(batch)
            sizes.append(end.next(batch))
            end.take(batch)
        end.end()
        found.append((sizes.count(batch), sum(size for size in sizes if size != batch)))
    assert found == count_updates(50, batches, tail)
    used = sum(full * batch + rest for batch, (full, rest) in zip(batches, found))
    assert used == 50 * len(batches) if tail != "drop" else used <= 50 * len(batches)
    if tail == "carry":
        assert all(rest == 0 for _, rest in found[:-1])


def test_keras_counts_an_epochs_sub_batches_up_to_its_last_update():
    tail = Tail("carry", 10, step=2)
    found = []
    for epoch in range(3):
        tail.begin(last_epoch=epoch == 2)
        steps = [0]
        while steps[-1] < tail.steps:
            steps.append(tail.step_after(4, steps[-1]))
            tail.take(4)
        tail.end()
        found.append(steps)
    assert found == [[0, 2, 5], [0, 1, 3, 5], [0, 2, 4, 5]]


def test_more_updates_than_sub_batches_after_the_batch_shrank():
    tail = Tail("carry", 10, step=1)
    tail.begin(last_epoch=False)
    tail.take(6)
    tail.end()
    assert tail.left == 4
    tail.begin(last_epoch=False)
    steps = [0]
    while steps[-1] < tail.steps:
        steps.append(tail.step_after(1, steps[-1]))
        tail.take(1)
    assert len(steps) == 15 and steps[-2:] == [9, 10] and tail.left == 0


def test_a_batch_that_grows_within_an_epoch_takes_of_the_next_or_makes_no_update():
    carry, drop = Tail("carry", 10), Tail("drop", 10)
    for tail in (carry, drop):
        tail.begin(last_epoch=False)
        tail.take(4)
        tail.take(2)
    assert (carry.next(8), drop.next(8)) == (8, 0)
    assert carry.ends_with(8) and drop.ends_with(8)
    for tail in (carry, drop):
        tail.take(8)
    assert (carry.left, drop.left, drop.steps_left) == (-4, 4, 4)
    carry.end()
    carry.begin(last_epoch=True)
    assert carry.left == 6


def test_an_epoch_that_is_broken_off_carries_nothing_over():
    tail = Tail("carry", 10)
    tail.begin(last_epoch=False)
    tail.take(3)
    tail.end()
    assert tail.left == 0


@pytest.mark.parametrize(
    ("samples", "batch", "rest"), [(50, 16, 2), (50, 11, 0), (50, 25, 0), (10, 32, 0), (50, 20, 0)]
)
def test_a_last_update_of_less_than_half_a_batch_is_noticed(samples, batch, rest):
    assert Tail("update", samples).lopsided(batch) == rest
    assert Tail("carry", samples).lopsided(batch) == Tail("drop", samples).lopsided(batch) == 0


def test_what_leaves_epochs_without_an_update_is_refused():
    for tail in ("carry", "drop"):
        with pytest.raises(
            ValueError, match=r"^tail='(carry|drop)' would .* 60 samples .* has 50:"
        ):
            Tail(tail, 50, step=4).check(60)
    Tail("update", 50).check(60)
    assert count_updates(50, [60]) == [(0, 50)]
    with pytest.raises(ValueError, match="^tail='wrap' must be one of"):
        count_updates(50, [10], "wrap")


CIFAR, SVHN, TINY, IMAGENET = 50_000, 531_131, 100_000, 1_281_167
PAPERS = {  # (samples, epochs): {batch: updates}, the columns BL and FB of ABS's tables, and the 141 of the limit
    "I": (CIFAR, 200, {128: 78_125, 256: 39_062, 512: 19_531, 2048: 4882, 4096: 2441, 8192: 1220, 16_384: 610}),
    "III": (SVHN, 20, {512: 20_747, 2048: 5186, 8192: 1296, 32_768: 324, 131_072: 81}),
    "IV, V": (CIFAR, 90, {128: 35_156, 640: 7031, 3200: 1406, 5120: 878, 10_240: 439, 16_000: 281}),
    "VII": (CIFAR, 160, {128: 62_500, 256: 31_250, 512: 15_625, 1024: 7812, 2048: 3906}),
    "VIII": (TINY, 120, {128: 93_750, 256: 46_875, 512: 23_437, 1024: 11_718, 2048: 5859, 4096: 2929, 8192: 1464}),
    "VIII, the largest": (TINY, 120, {16_384: 732}),
}  # fmt: skip


@pytest.mark.parametrize("table", PAPERS)
def test_full_updates_are_the_papers_numbers_where_the_rest_is_carried_over(table):
    samples, epochs, rows = PAPERS[table]
    for batch, updates in rows.items():
        full, rest = total_updates(samples, epochs * [batch], "carry")
        assert full == updates and rest == (samples * epochs % batch > 0), batch


def test_numbers_that_the_papers_round_up_count_the_last_smaller_update():
    assert total_updates(IMAGENET, 90 * [819_200], "carry") == (140, 1)  # 141
    assert total_updates(CIFAR, 200 * [1024], "carry") == (9765, 1)  # Table I: 9,766
    assert sum(total_updates(IMAGENET, 90 * [819_200])) == 180
