"""The Penn Treebank's loader on small files in the original format, whole and damaged."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from tflbt.data import TextData, load, load_penn_treebank

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
REAL = Path(__file__).parents[4] / "shared" / "data"
TRAIN = " the <unk> N of \n the cat sat \n a cat of the N \n"  # lines begin and end with a blank, as the real ones
VALID = " a cat \n the cat sat of the cat \n"
TEST = " the cat of N \n sat sat a \n"
# by hand: 3 of <eos>, the; 2 of N, cat, of; 1 of <unk>, a, sat
VOCABULARY = ("<eos>", "the", "N", "cat", "of", "<unk>", "a", "sat")
TRAIN_WORDS = [
    "the",
    "<unk>",
    "N",
    "of",
    "<eos>",
    "the",
    "cat",
    "sat",
    "<eos>",
    "a",
    "cat",
    "of",
    "the",
    "N",
    "<eos>",
]
TEST_WORDS = ["the", "cat", "of", "N", "<eos>", "sat", "sat", "a", "<eos>"]
VALID_WORDS = ["a", "cat", "<eos>", "the", "cat", "sat", "of", "the", "cat", "<eos>"]


def write(folder, packing="", **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in {"train": TRAIN, "valid": VALID, "test": TEST, **texts}.items():
        held = text if isinstance(text, bytes) else text.encode()
        (folder / f"ptb.{part}.txt{packing}").write_bytes(PACK[packing](held))


def decoded(data, numbers):
    return [[data.vocabulary[number] for number in window] for window in numbers]


def cut(words, window, shift):
    count = (len(words) - 1) // window
    return [words[i * window + shift : (i + 1) * window + shift] for i in range(count)]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("folder", ["", "ptb", "penn", "penn_treebank", "simple-examples/data"])
def test_windows_are_the_files_words_with_ends_of_lines(tmp_path, folder, packing):
    write(tmp_path / folder, packing)
    data = load_penn_treebank(tmp_path, window=3)
    assert data.vocabulary == VOCABULARY and data.classes == 8 and data.name == "penn_treebank"
    assert decoded(data, data.x_train) == cut(TRAIN_WORDS, 3, 0)
    assert decoded(data, data.y_train) == cut(TRAIN_WORDS, 3, 1)
    assert decoded(data, data.x_test) == cut(TEST_WORDS, 3, 0)
    assert decoded(data, data.y_test) == cut(TEST_WORDS, 3, 1)


def test_it_is_loaded_by_its_name_in_windows_of_70(tmp_path):
    write(tmp_path, train=TRAIN * 10, test=TEST * 10)
    data = load("penn_treebank", tmp_path)
    assert isinstance(data, TextData)
    assert (data.x_train.shape, data.x_test.shape) == ((2, 70), (1, 70))  # of 150 and 90 words
    with pytest.raises(ValueError, match="image_size=8 is for imagenet"):
        load("penn_treebank", tmp_path, image_size=8)


def test_the_validation_file_can_be_held_out(tmp_path):
    write(tmp_path)
    data = load_penn_treebank(tmp_path, window=3, held_out="valid")
    assert decoded(data, data.x_test) == cut(VALID_WORDS, 3, 0)
    (tmp_path / "ptb.valid.txt").unlink()
    assert len(load_penn_treebank(tmp_path, window=3).x_test) == 2  # which needs no validation file


def test_words_that_are_not_trained_on_are_unknown(tmp_path):
    write(tmp_path, test=" the dog \n sat \n")
    data = load_penn_treebank(tmp_path, window=4)
    assert decoded(data, data.x_test) == [["the", "<unk>", "<eos>", "sat"]]


def test_a_strange_word_without_an_unknown_one_is_named_with_its_line(tmp_path):
    write(tmp_path, train=" a b \n" * 3, test=" a \n b a \n b dog a \n")
    with pytest.raises(ValueError, match=r"ptb.test.txt, line 3, has 'dog', .*nor has it '<unk>'"):
        load_penn_treebank(tmp_path, window=3)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_ends_of_lines_may_be_of_any_system_and_the_last_may_miss(tmp_path, ending):
    text = TRAIN.replace("\n", ending or "\n")
    write(tmp_path, train=text if ending else text[:-1])
    data = load_penn_treebank(tmp_path, window=3)
    assert decoded(data, data.y_train) == cut(TRAIN_WORDS, 3, 1)


def test_letters_that_are_no_ascii_are_words_too(tmp_path):
    write(
        tmp_path, test=" caf\u00e9 \u2028 the \u0085 cat \n"
    )  # which str.splitlines would split at
    data = load_penn_treebank(tmp_path, window=3)
    assert decoded(data, data.x_test) == [["<unk>", "the", "cat"]]


@pytest.mark.parametrize("part", ["train", "test"])
def test_files_that_are_not_what_they_should_be_are_named(tmp_path, part):
    path = tmp_path / f"ptb.{part}.txt"
    for text in ("", " \n \n"):
        write(tmp_path, **{part: text})
        with pytest.raises(ValueError, match=f"{path} holds no words. It should be UTF-8 text"):
            load_penn_treebank(tmp_path, window=3)
    write(tmp_path, **{part: b" the cat \n of \xe9 the \n"})
    with pytest.raises(ValueError, match=f"{path}, line 2, has bytes that are not UTF-8 .0xe9."):
        load_penn_treebank(tmp_path, window=3)
    write(tmp_path, **{part: " the <unk> \n"})
    with pytest.raises(ValueError, match=f"{path} holds 3 words, too few for one window=3"):
        load_penn_treebank(tmp_path, window=3)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"There is no ptb.{part}.txt .*{tmp_path}"):
        load_penn_treebank(tmp_path, window=3)


@pytest.mark.parametrize("packing", [".gz", ".xz"])
def test_a_damaged_archive_is_named(tmp_path, packing):
    write(tmp_path, packing)
    path = tmp_path / f"ptb.test.txt{packing}"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(OSError, match=f"ptb.test.txt{packing} is damaged .* It should be UTF-8"):
        load_penn_treebank(tmp_path, window=3)


def test_wrong_arguments_are_reported(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match="^held_out='train' must be one of 'test', 'valid'"):
        load_penn_treebank(tmp_path, held_out="train")
    with pytest.raises(ValueError, match="^window=0 must be a whole number, at least 1"):
        load_penn_treebank(tmp_path, window=0)
    with pytest.raises(ValueError, match="^data_dir is not given"):
        load("penn_treebank")
    with pytest.raises(NotADirectoryError, match="no-such is not a directory"):
        load("penn_treebank", tmp_path / "no-such")


@pytest.mark.skipif(not (REAL / "ptb").is_dir(), reason="the real files are not here")
def test_the_real_files_have_the_published_counts():
    data = load("penn_treebank", REAL)
    assert data.classes == 10_000
    assert data.vocabulary[:5] == ("the", "<unk>", "<eos>", "N", "of")
    assert (len(data.x_train), len(data.x_test)) == (13_279, 1_177)
    assert np.array_equal(data.x_train.ravel()[1:], data.y_train.ravel()[:-1])
