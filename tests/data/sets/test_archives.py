"""Finding and reading original files: raw, gzip, xz, and errors that name the file and what it should be."""

from __future__ import annotations

import gzip
import lzma

import pytest

from tflbt.data.sets import archives


def test_the_folder_itself_comes_first_and_only_folders_that_exist(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "a-file").touch()
    places = archives.folders(tmp_path, ["a-file", "absent", "mnist"], "files")
    assert places == [tmp_path, tmp_path / "mnist"]


def test_names_are_tried_in_order_and_in_every_packing(tmp_path):
    for name in ("second", "first.xz"):
        (tmp_path / name).touch()
    first = archives.required_file([tmp_path], ["first", "second"], "it")
    assert first == tmp_path / "first.xz"
    with pytest.raises(FileNotFoundError, match="no first in"):
        archives.required_file([tmp_path], ["first"], "a raw file", packed=False)
    assert archives.required_file([tmp_path / "absent", tmp_path], ["second"], "it") == (
        tmp_path / "second"
    )
    with pytest.raises(FileNotFoundError, match=f"no third .* in {tmp_path}. .* hold three files"):
        archives.required_file([tmp_path], ["third"], "three files")


@pytest.mark.parametrize(
    ("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)]
)
def test_a_file_is_decompressed_by_its_ending(tmp_path, ending, pack):
    path = tmp_path / f"file{ending}"
    path.write_bytes(pack(b"abc"))
    with archives.opened(path, "letters") as stream:
        assert stream.read() == b"abc"


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_a_damaged_stream_is_an_error_that_names_the_file(tmp_path, ending):
    path = tmp_path / f"file{ending}"
    path.write_bytes({".gz": gzip, ".xz": lzma}[ending].compress(bytes(5000))[:-9])
    error = pytest.raises(OSError, match=f"{path} is damaged .* It should be zeros")
    with error, archives.opened(path, "zeros") as stream:
        stream.read()


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_a_sum_at_the_streams_end_is_checked_and_a_bomb_is_not_inflated(tmp_path, ending):
    compress = {".gz": gzip, ".xz": lzma}[ending].compress
    path = tmp_path / f"file{ending}"
    whole = compress(bytes(range(256)) * 20)
    path.write_bytes(whole)
    assert archives.read(path, "bytes", 5120) == bytes(range(256)) * 20
    for place in range(len(whole) - 8, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(OSError, match="is damaged"):
            archives.read(path, "bytes", 5120)
    path.write_bytes(compress(bytes(10**7)))
    with pytest.raises(ValueError, match=f"{path} holds more than 5,120 bytes. It should be bytes"):
        archives.read(path, "bytes", 5120)
