"""Files are replaced whole or not at all."""

from __future__ import annotations

import resource

import pytest

from tflbt.runs import atomic_file


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    atomic_file.write(tmp_path / "a", "ü\n")
    atomic_file.write(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == "ü\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"


def test_no_other_file_is_left(tmp_path):
    atomic_file.write(tmp_path / "a", "one")
    atomic_file.write(tmp_path / "a", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_no_space_names_the_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "a"
    atomic_file.write(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            atomic_file.write(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_system_error_says_what_failed_and_where():
    said = r"^\[Errno 28\] cannot write: No space left on device: 'runs/a'$"
    with pytest.raises(OSError, match=said), atomic_file.naming("runs/a", "cannot write"):
        raise OSError(28, "No space left on device")


def test_missing_folder_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere/a"):
        atomic_file.write(tmp_path / "nowhere" / "a", "x")
