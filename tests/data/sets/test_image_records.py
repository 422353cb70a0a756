"""ImageNet as TFRecord files: the same crops as of the JPEG files, and errors that name wrong files."""

from __future__ import annotations

import dataclasses
import gzip
import re

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import (
    ImageFolder,
    ImageRecords,
    StoredImages,
    load,
    load_image_records,
    sub_batches,
    unreadable_named,
    with_holdout,
)
from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.sets import image_files

SHARDS = {"train": 3, "validation": 2}


@pytest.fixture(autouse=True)
def no_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def jpeg(number):
    rng = np.random.default_rng(number)
    colours = rng.integers(0, 256, (4, 4, 3)).astype(np.float32)
    image = tf.image.resize(colours, rng.integers(20, 60, 2))
    return tf.io.encode_jpeg(tf.cast(image, tf.uint8)).numpy()


def record(number, label):
    """An Example with most of what build_imagenet_data.py writes."""
    example = tf.train.Example()
    feature = example.features.feature
    feature["image/height"].int64_list.value.append(40)
    feature["image/object/bbox/xmin"].float_list.value.extend([0.1, 0.2])
    feature["image/object/bbox/label"].int64_list.value.extend([label, label])
    feature["image/encoded"].bytes_list.value.append(jpeg(number))
    feature["image/class/label"].int64_list.value.append(label)
    feature["image/filename"].bytes_list.value.append(b"n01440764_1.JPEG")
    return example.SerializeToString()


def write(folder, first=1, label=lambda number: number % 3, shards=SHARDS):
    """Writes 4 images a shard, numbered on from 0 in "train" and 100 in "validation"."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in shards.items():
        number = 100 * (split == "validation")
        for shard in range(count):
            with tf.io.TFRecordWriter(f"{folder}/{split}-{shard:05}-of-{count:05}") as writer:
                for _ in range(4):
                    writer.write(record(number, first + label(number)))
                    number += 1
    return folder


def numbers(names, root):
    """The images for which names stand, recognised by their JPEGs."""
    known = {jpeg(number): number for number in [*range(12), *range(100, 108)]}
    paths = [f"{root}/{name.decode()}" for name in names]
    return [known[ImageRecords.contents(tf.constant(path)).numpy()] for path in paths]


@pytest.mark.parametrize("first", [0, 1])
def test_every_record_is_listed_with_its_label(tmp_path, first):
    root = write(tmp_path / "imagenet", first)
    images = load("imagenet", tmp_path)
    assert isinstance(images, ImageRecords) and isinstance(images, StoredImages)
    assert (images.classes, images.image_shape, images.name) == (1000, (224, 224, 3), "imagenet")
    assert (images.class_names[0], images.class_names[-1]) == (str(first), str(first + 999))
    order = numbers(images.x_train, root)
    assert sorted(order) == list(range(12)) and order != sorted(order)
    assert images.y_train.tolist() == [number % 3 for number in order]
    assert numbers(images.x_test, root) == list(range(100, 108))
    assert images.y_test.tolist() == [number % 3 for number in range(100, 108)]
    assert images.y_train.dtype == np.int64
    assert images.x_test[4] == b"validation-00001-of-00002@0"
    again = load("imagenet", root, image_size=32)
    np.testing.assert_array_equal(again.x_train, images.x_train)


def test_files_may_be_in_a_folder_for_each_split(tmp_path):
    root = write(tmp_path / "written")
    for split in SHARDS:
        (tmp_path / "imagenet" / split).mkdir(parents=True)
        for path in root.glob(f"{split}-*"):
            path.rename(tmp_path / "imagenet" / split / path.name)
    images = load("imagenet", tmp_path)
    assert images.x_test[0] == b"validation/validation-00000-of-00002@0"
    assert numbers(images.x_test[:1], tmp_path / "imagenet") == [100]


def test_crops_are_those_of_the_jpeg_files(tmp_path):
    images = load("imagenet", write(tmp_path / "records"), image_size=16, crop_area=(0.2, 0.9))
    order = numbers(images.x_train, tmp_path / "records")
    paths = [str(tmp_path / f"{number}.JPEG") for number in order]
    for path, number in zip(paths, order):
        with open(path, "wb") as file:
            file.write(jpeg(number))
    seeds = sample_seeds(0, tf.constant(0), tf.range(12))
    crops = images.random_crops(images.x_train, seeds)
    np.testing.assert_array_equal(crops, image_files.random_crops(paths, seeds, 16, (0.2, 0.9)))
    assert np.abs(crops - image_files.random_crops(paths, seeds, 16)).max() > 10
    narrow = dataclasses.replace(images, crop_aspect=(1.0, 1.0)).random_crops(images.x_train, seeds)
    assert np.abs(crops - narrow).max() > 10
    np.testing.assert_array_equal(
        images.resized_random_crops(images.x_train, seeds),
        image_files.resized_random_crops(paths, seeds, 16),
    )
    some, labels = images.some_training_images(5)
    np.testing.assert_array_equal(some, image_files.centre_crops(paths[:5], 16))
    np.testing.assert_array_equal(labels, images.y_train[:5])


def test_two_ranks_see_what_one_sees(tmp_path):
    images = load("imagenet", write(tmp_path), image_size=8)

    def seen(size, sub_batch_size):
        dealt = [
            sub_batches(
                (images.x_train, images.y_train), sub_batch_size=sub_batch_size, rank=rank,
                size=size, epochs=2, seed=3, transform=images.random_crops,
            )
            for rank in range(size)
        ]  # fmt: skip
        rounds = [part for parts in zip(*dealt) for part in parts]
        return [np.concatenate(parts) for parts in zip(*rounds)]

    crops, labels = seen(1, 12)
    assert crops.shape == (24, 8, 8, 3)
    assert sorted(labels[:12]) == sorted(labels[12:]) == sorted(images.y_train)
    for on_one, on_two in zip((crops, labels), seen(2, 5)):
        np.testing.assert_array_equal(on_two, on_one)


def test_a_part_can_be_held_out(tmp_path):
    images = load("imagenet", write(tmp_path), image_size=8)
    chosen = with_holdout(images, 4)
    assert isinstance(chosen, ImageRecords)
    assert sorted([*chosen.x_train, *chosen.x_test]) == sorted(images.x_train)


@pytest.mark.parametrize("damage", ["flipped byte", "no JPEG", "no image", "cut", "gone"])
def test_a_record_that_cannot_be_read_is_named(tmp_path, damage):
    images = load("imagenet", write(tmp_path), image_size=8)
    path = tmp_path / "train-00001-of-00003"
    content = bytearray(path.read_bytes())
    name = f"{path}@0"
    if damage == "flipped byte":  # within the JPEG, where decoding may well find nothing wrong
        content[content.index(jpeg(4)) + len(jpeg(4)) * 3 // 4] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: len(jpeg(4))])
    elif damage == "gone":
        path.unlink()
    else:
        example = tf.train.Example()
        if damage == "no JPEG":
            example.features.feature["image/encoded"].bytes_list.value.append(b"text")
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(example.SerializeToString())
    first = [[name for name in images.x_train.tolist() if name.endswith(b"00001-of-00003@0")][0]]
    good = [name for name in images.x_train.tolist() if b"00001" not in name]
    says = f"neither JPEG nor PNG: {re.escape(name)}[.]$"
    with pytest.raises(OSError, match=says), unreadable_named():
        images.random_crops(good + first, tf.zeros([9, 2], tf.int32))
    with pytest.raises(OSError, match=f"{re.escape(name)}"):
        images.some_training_images(12)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (1, 1001, "validation-00001-of-00002 holds the label 1001; it should be 1 .. 1000"),
        (0, 1000, "validation-00001-of-00002 holds the label 1000; it should be 0 .. 999"),
        (1, 0, "validation-00001-of-00002 holds the label 0; it should be 1 .. 1000"),
    ],
)
def test_a_label_out_of_range_is_reported(tmp_path, first, last, message):
    write(tmp_path, first, lambda number: last - first if number == 106 else number % 3)
    with pytest.raises(ValueError, match=f"{tmp_path}/{message}"):
        load("imagenet", tmp_path)


def test_the_number_of_classes_and_the_first_label_may_be_given(tmp_path):
    write(tmp_path)
    images = load_image_records(tmp_path, classes=4, first_label=0)
    assert images.class_names == ("0", "1", "2", "3") and set(images.y_train) == {1, 2, 3}
    with pytest.raises(ValueError, match="holds the label 3; it should be 1 .. 2"):
        load_image_records(tmp_path, classes=2)
    with pytest.raises(ValueError, match="classes=0 must be a whole number, at least 1"):
        load_image_records(tmp_path, classes=0)
    with pytest.raises(ValueError, match="image_size=0 must be"):
        load_image_records(tmp_path, 0)
    with pytest.raises(ValueError, match=r"area=\(0.5, 0.1\) must be"):
        load("imagenet", tmp_path, crop_area=[0.5, 0.1])


def test_missing_and_stray_and_empty_files_are_named(tmp_path):
    write(tmp_path)
    shard = tmp_path / "train-00001-of-00003"
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=f"{shard} is missing, 1 of 3 files"):
        load("imagenet", tmp_path)
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{shard} is empty. It should be TFRecord files train"):
        load("imagenet", tmp_path)
    shard.write_bytes(content[:-1])
    with pytest.raises(OSError, match=f"{shard} is damaged, cut off"):
        load("imagenet", tmp_path)
    shard.write_bytes(gzip.compress(content))
    with pytest.raises(OSError, match=f"{shard} is damaged, cut off or compressed"):
        load("imagenet", tmp_path)
    shard.write_bytes(content)
    for stray in ("train-00003-of-00003", "train-00000-of-00004"):
        (tmp_path / stray).touch()
        with pytest.raises(ValueError, match=f"{stray} does not belong to the 3 files"):
            load("imagenet", tmp_path)
        (tmp_path / stray).unlink()
    for path in tmp_path.glob("validation-*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no validation-NNNNN-of-MMMMM"):
        load("imagenet", tmp_path)


def test_either_form_is_found_and_neither_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="train/CLASS .* or TFRecord files .* no train"):
        load("imagenet", tmp_path)
    for split in ("train", "val"):
        (tmp_path / split / "n01").mkdir(parents=True)
        (tmp_path / split / "n01" / "1.JPEG").write_bytes(jpeg(1))
    images = load("imagenet", tmp_path, 8, crop_area=(0.3, 1.0))
    assert isinstance(images, ImageFolder) and images.crop_area == (0.3, 1.0)
    with pytest.raises(ValueError, match=r"crop_area=\(0.1, 1.0\) is for imagenet; digits has"):
        load("digits", crop_area=(0.1, 1.0))
