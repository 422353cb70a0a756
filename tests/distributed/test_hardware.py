"""What a rank computes on is told in words, and a single process is like itself."""

from __future__ import annotations

import pytest

from tflbt.distributed import hardware
from tflbt.distributed.comm import EVERYONE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu fma avx avx2\n", "AuthenticAMD avx avx2 fma"),
        ("model: x\nvendor_id : GenuineIntel\nflags: avx512f", "GenuineIntel avx512f"),
    ],
)
def test_processors_are_told_by_maker_and_instructions(text, words):
    assert hardware.description(text) == words


def test_this_machine_has_a_description_and_is_like_itself(monkeypatch):
    assert hardware.description() and hardware.description("")
    assert hardware.different(EVERYONE) == []
    monkeypatch.setenv(hardware.VARIABLE, "1")
    assert hardware.different(EVERYONE) == [hardware.description()]
    monkeypatch.setenv(hardware.VARIABLE, "yes")
    with pytest.raises(ValueError, match="TFLBT_MIXED_HARDWARE='yes' must be 0 or 1"):
        hardware.different(EVERYONE)
