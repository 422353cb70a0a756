"""Trials and their outcomes: which may win, and what they are called."""

from __future__ import annotations

import pytest

from tflbt.tuning.trial import STATUSES, Outcome, Trial


def test_a_trials_folder_sorts_by_number():
    assert [Trial(number, {}).name for number in (7, 12345)] == ["0007", "12345"]


def test_only_completed_and_stopped_trials_count():
    assert [Outcome(status).counts for status in STATUSES] == [True, True, False, False]


def test_another_status_is_refused():
    with pytest.raises(ValueError, match="status='running' must be one of 'completed'"):
        Outcome("running")
