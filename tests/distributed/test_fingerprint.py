"""Equal bits, and only those, have equal fingerprints; sums over ranks tell whether all are equal."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.distributed import fingerprint

TENTH = np.float32(0.1)


@pytest.mark.parametrize(
    ("ranks", "equal"),
    [
        ([TENTH] * 3, True),
        ([TENTH, TENTH, np.nextafter(TENTH, np.float32(1))], False),
        ([1, 2, 3], False),  # rank 1 holds their mean
        ([True, False], False),
        ([np.int64(2**40), np.int64(2**40 + 1)], False),
        ([np.nan, -np.nan], True),
        ([np.zeros(0, "f4")] * 2, True),
        ([[1.0, 2.0], [2.0, 1.0]], False),
        ([np.ones([2, 3])] * 1000, True),
        ([np.ones([2, 3])] * 999 + [np.zeros([2, 3])], False),
    ],
)
def test_sums_tell_whether_all_ranks_are_equal(ranks, equal):
    prints = tf.stack([fingerprint.fingerprint(value) for value in ranks])
    summed = np.sum(np.moveaxis(fingerprint.evidence(prints), 1, 0), axis=0, dtype=np.float32)
    assert bool(fingerprint.equal(summed, len(ranks))) == equal


def test_lists_of_variables_in_turn(monkeypatch):
    seen, real = [], fingerprint.fingerprint
    monkeypatch.setattr(fingerprint, "fingerprint", lambda value: seen.append(value) or real(value))
    first, second = tf.Variable([1.0, 2.0]), tf.Variable(3)
    prints = fingerprint.Fingerprints()
    both = prints([first, second]).numpy()
    assert both.shape == (2, 8) and (prints([second]).numpy() == both[1:]).all()
    first.assign([1.0, 2.5])
    assert (prints([first, second]).numpy() == both).all(1).tolist() == [False, True]
    assert len(seen) == 3  # each list was traced once
    found = fingerprint.fingerprint_of_all([first, second]).numpy()
    assert (found != fingerprint.fingerprint_of_all([second, first]).numpy()).any()
