"""Class folders of images: what is listed, what the ranks get, and errors that name wrong folders."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import fit_standardize, load, load_image_folder, one_epoch, sub_batches


@pytest.fixture
def root(tmp_path):
    """Three classes, of 3, 2 and 4 training images and 1 each to validate, in several sizes."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", (3, 2, 4)), ("val", (1, 1, 1))):
        for name, count in zip(("n02", "n01", "n03"), counts):
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                sides = rng.integers(20, 60, 2)
                image = rng.integers(0, 256, (*sides, 3)).astype(np.uint8)
                path = folder / f"{name}_{number}.JPEG"
                path.write_bytes(tf.io.encode_jpeg(image).numpy())
    return tmp_path


def test_files_are_listed_by_class_and_name(root):
    (root / "imagenet/train/n01/.hidden.JPEG").touch()
    (root / "imagenet/train/n01/notes.txt").touch()
    (root / "imagenet/train/n01/n01_9.png").touch()
    images = load("imagenet", root)
    assert images.class_names == ("n01", "n02", "n03") and images.classes == 3
    assert images.image_shape == (224, 224, 3)
    assert images.y_train.dtype == np.int64
    listed = sorted(zip(images.x_train.tolist(), images.y_train.tolist()))
    assert [label for _, label in listed] == [0] * 3 + [1] * 3 + [2] * 4
    assert [name for name, _ in listed[:4]] == [
        b"train/n01/n01_0.JPEG", b"train/n01/n01_1.JPEG", b"train/n01/n01_9.png",
        b"train/n02/n02_0.JPEG",
    ]  # fmt: skip
    assert images.x_test.tolist() == [f"val/n0{n}/n0{n}_0.JPEG".encode() for n in (1, 2, 3)]
    assert images.y_test.tolist() == [0, 1, 2]


def test_the_folder_itself_may_be_given_and_a_size(root):
    images = load("imagenet", root / "imagenet", image_size=32)
    assert images.image_shape == (32, 32, 3) and len(images.x_train) == 9
    with pytest.raises(ValueError, match="image_size=32 is for imagenet; digits has"):
        load("digits", image_size=32)


def test_training_files_are_in_one_mixed_order(tmp_path):
    for split in ("train", "val"):
        for label in range(10):
            folder = tmp_path / split / f"n{label}"
            folder.mkdir(parents=True)
            for number in range(20):
                (folder / f"{number}.JPEG").touch()
    one, two = load_image_folder(tmp_path), load_image_folder(tmp_path)
    np.testing.assert_array_equal(one.x_train, two.x_train)
    np.testing.assert_array_equal(one.y_train, [int(name[7:8]) for name in one.x_train])
    assert len(set(one.y_train[:50])) == len(set(one.y_train[-50:])) == 10
    assert one.y_test.tolist() == sorted(one.y_test)


@pytest.mark.parametrize("sub_batch_size", [1, 2, 5])
def test_two_ranks_see_what_one_sees(root, sub_batch_size):
    images = load("imagenet", root, image_size=8)
    arrays, settings = (images.x_train, images.y_train), {"epochs": 2, "seed": 3}
    transform = images.random_crops

    def seen(size, sub_batch_size):
        """All samples in the order of the updates: one sub-batch of each rank in turn."""
        dealt = [
            sub_batches(
                arrays, sub_batch_size=sub_batch_size, rank=rank, size=size, transform=transform,
                **settings,
            )
            for rank in range(size)
        ]  # fmt: skip
        rounds = [part for parts in zip(*dealt) for part in parts]
        return [np.concatenate(parts) for parts in zip(*rounds)]

    crops, labels = seen(1, 9)
    assert crops.shape == (18, 8, 8, 3) and crops.dtype == np.float32
    assert np.bincount(labels).tolist() == [4, 6, 8]
    for one, two in zip((crops, labels), seen(2, sub_batch_size)):
        np.testing.assert_array_equal(two, one)
    assert np.abs(crops[:9] - crops[9:]).max() > 10  # another epoch: another order, other crops


def test_evaluation_reads_each_file_once_in_order(root):
    images = load("imagenet", root, image_size=8)
    crops = np.concatenate(
        [
            x
            for x, _ in one_epoch(
                (images.x_train, images.y_train), sub_batch_size=4, transform=images.centre_crops
            )
        ]
    )
    some, labels = images.some_training_images(100)
    np.testing.assert_array_equal(crops, some)
    np.testing.assert_array_equal(labels, images.y_train)
    few, labels = images.some_training_images(3)
    np.testing.assert_array_equal(labels, images.y_train[:3])
    np.testing.assert_array_equal(few, crops[:3])


def test_imagenets_statistics_need_no_pass_over_the_files(root):
    images = load("imagenet", root, image_size=8)
    standardize = fit_standardize(images.x_train, "imagenet")
    white = standardize(np.full([1, 1, 1, 3], 255, np.uint8)).numpy().ravel()
    np.testing.assert_allclose(white, [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-5)
    with pytest.raises(
        ValueError, match="'per_pixel', got .*; image files go with mode 'imagenet'"
    ):
        fit_standardize(images.x_train)


def test_a_damaged_file_is_named_when_it_is_read(root):
    path = root / "imagenet/train/n02/n02_1.JPEG"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OSError, match=f"{path}[.]$"):
        load("imagenet", root, image_size=8).some_training_images(9)


def test_folders_that_are_wrong_are_reported(root):
    with pytest.raises(
        ValueError, match="data_dir is not given. It should hold the folders train/CLASS"
    ):
        load("imagenet")
    with pytest.raises(FileNotFoundError, match="there is no train or no val"):
        load_image_folder(root / "imagenet" / "train")
    with pytest.raises(ValueError, match="image_size=0 must be a whole number, at least 1"):
        load_image_folder(root, 0)
    (root / "imagenet/train/n04").mkdir()
    with pytest.raises(ValueError, match="1 are in one only, such as 'n04'"):
        load_image_folder(root)
    (root / "imagenet/val/n04").mkdir()
    with pytest.raises(FileNotFoundError, match="train/n04 holds no image: it should hold .jpeg, "):
        load_image_folder(root)
    (root / "imagenet/train/n04/1.png").touch()
    for number in (1, 2, 3):
        os.remove(root / f"imagenet/val/n0{number}/n0{number}_0.JPEG")
    with pytest.raises(FileNotFoundError, match="/val holds no image"):
        load_image_folder(root)
