"""Finding and opening original files: every packing, and errors that name the file and what it should be."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile

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
    assert archives.find_file(tmp_path, ["first", "second"]) == tmp_path / "first.xz"
    assert archives.find_file(tmp_path, ["third"]) is None
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


def test_only_the_named_members_of_a_tar_are_read(tmp_path):
    path = tmp_path / "set-1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("folder/one", "folder/two", "three"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(name[-1:].encode()))
    (tmp_path / "set-2.zip").touch()
    assert archives.find_tars(tmp_path, "set-") == [path]
    members = archives.tar_members(path, ["three", "one"])
    assert [(name, stream.read()) for name, stream in members] == [("one", b"e"), ("three", b"e")]
