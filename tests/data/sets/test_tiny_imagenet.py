"""TinyImageNet's loader on small files in the original format, whole and damaged."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data import load

CLASSES = ("n02", "n01", "n03")  # not sorted: their order in wnids.txt is that of the labels
TRAIN = 4  # images of each class
VAL = {"val_0.JPEG": "n03", "val_10.JPEG": "n02", "val_2.JPEG": "n01"}


@functools.cache
def jpeg(name, side=64, channels=3):
    """A file whose pixels tell its name."""
    rng = np.random.default_rng(list(name.encode()))
    colours = rng.integers(0, 256, (3, 3, channels)).astype(np.float32)
    image = tf.cast(tf.image.resize(colours, [side, 64]), tf.uint8)
    return tf.io.encode_jpeg(image).numpy()


def pixels(content):
    return tf.io.decode_jpeg(content, channels=3).numpy()


@pytest.fixture
def root(tmp_path):
    """The files as they are published: boxes beside the training images, test images without labels."""
    root = tmp_path / "tiny-imagenet-200"
    for name in CLASSES:
        (root / "train" / name / "images").mkdir(parents=True)
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t62\t62\n")
        for number in range(TRAIN):
            file = f"{name}_{number}.JPEG"
            channels = 1 if file == "n01_1.JPEG" else 3
            (root / "train" / name / "images" / file).write_bytes(jpeg(file, channels=channels))
    for split, names in (("val", VAL), ("test", ["test_0.JPEG"])):
        (root / split / "images").mkdir(parents=True)
        for file in names:
            (root / split / "images" / file).write_bytes(jpeg(file))
    lines = [f"{file}\t{name}\t0\t32\t44\t62\n" for file, name in VAL.items()]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
    (root / "words.txt").write_text("n01\tgoldfish\n")
    return root


def test_every_image_comes_with_its_label(root, tmp_path):
    data = load("tiny_imagenet", tmp_path)
    assert (data.classes, data.image_shape, data.name) == (3, (64, 64, 3), "tiny_imagenet")
    expected = {}
    for label, name in enumerate(CLASSES):
        for number in range(TRAIN):
            file = f"{name}_{number}.JPEG"
            content = jpeg(file, channels=1 if file == "n01_1.JPEG" else 3)
            expected[pixels(content).tobytes()] = label
    got = {image.tobytes(): label for image, label in zip(data.x_train, data.y_train)}
    assert got == expected and len(expected) == len(data.x_train) == 12
    assert data.y_train.tolist() != sorted(data.y_train)
    np.testing.assert_array_equal(data.x_test, [pixels(jpeg(file)) for file in VAL])
    assert data.y_test.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(load("tiny_imagenet", root).x_train, data.x_train)


def of_gigabytes(content):
    """A JPEG whose header says 65,500 x 65,500 pixels."""
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + b"\xff\xdc" * 2 + content[place + 4 :]


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


CHANGES = {
    "class folder missing": (
        lambda root: shutil.rmtree(root / "train" / "n01"),
        (OSError, "{}/train/n01/images is missing or holds no JPEG; wnids.txt names that class"),
    ),
    "class empty": (
        lambda root: [path.unlink() for path in (root / "train/n03/images").iterdir()],
        (OSError, "{}/train/n03/images is missing or holds no JPEG"),
    ),
    "class not named": (
        lambda root: edit(root / "wnids.txt", "n01\n", ""),
        (ValueError, "{}/train/n01 is no class that wnids.txt names"),
    ),
    "class named twice": (
        lambda root: edit(root / "wnids.txt", "n01\n", "n01\nn01\n"),
        (ValueError, "{}/wnids.txt names no class, or one twice"),
    ),
    "no class named": (
        lambda root: (root / "wnids.txt").write_text("\n"),
        (ValueError, "{}/wnids.txt names no class, or one twice"),
    ),
    "unknown class annotated": (
        lambda root: edit(root / "val/val_annotations.txt", "n02", "n04"),
        (ValueError, "{}/val/val_annotations.txt, line 2, has the class 'n04', which wnids.txt"),
    ),
    "annotation cut": (
        lambda root: edit(root / "val/val_annotations.txt", "val_2.JPEG\tn01\t0\t32\t44\t62\n", "val_2"),
        (ValueError, "{}/val/val_annotations.txt, line 3, has the class '', which"),
    ),
    "image not annotated": (
        lambda root: edit(root / "val/val_annotations.txt", "val_2.JPEG\tn01\t0\t32\t44\t62\n", ""),
        (ValueError, "{}/val/val_annotations.txt does not name val/images/val_2.JPEG"),
    ),
    "image annotated twice": (
        lambda root: edit(root / "val/val_annotations.txt", "val_2", "val_0"),
        (ValueError, "{}/val/val_annotations.txt, line 3, names 'val_0.JPEG' again"),
    ),
    "annotated image missing": (
        lambda root: (root / "val/images/val_10.JPEG").unlink(),
        (OSError, "{}/val/images/val_10.JPEG is missing: {}/val/val_annotations.txt, line 2,"),
    ),
    "no annotations": (
        lambda root: (root / "val/val_annotations.txt").unlink(),
        (OSError, "{} holds no val/val_annotations.txt. It should hold TinyImageNet's wnids.txt"),
    ),
    "nothing annotated": (
        lambda root: [(root / "val/val_annotations.txt").write_text(""), shutil.rmtree(root / "val/images")],
        (ValueError, "{}/val/val_annotations.txt does not name any image"),
    ),
    "JPEG cut": (
        lambda root: (root / "train/n01/images/n01_2.JPEG").write_bytes(jpeg("n01_2.JPEG")[:300]),
        (OSError, "{}/train/n01/images/n01_2.JPEG is damaged, or no JPEG"),
    ),
    "JPEG empty": (
        lambda root: (root / "val/images/val_2.JPEG").write_bytes(b""),
        (OSError, "{}/val/images/val_2.JPEG is damaged, or no JPEG"),
    ),
    "a header of gigabytes": (
        lambda root: (root / "train/n01/images/n01_2.JPEG").write_bytes(of_gigabytes(jpeg("n01_2.JPEG"))),
        (ValueError, "{}/train/n01/images/n01_2.JPEG is an image of 65500 x 65500 pixels, not 64 x 64"),
    ),
    "another size": (
        lambda root: (root / "train/n03/images/n03_3.JPEG").write_bytes(jpeg("n03_3.JPEG", 32)),
        (ValueError, "{}/train/n03/images/n03_3.JPEG is an image of 32 x 64 pixels, not 64 x 64"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_is_named_with_its_file(change, root, tmp_path):
    do, (kind, message) = CHANGES[change]
    do(root)
    with pytest.raises(kind) as raised:
        load("tiny_imagenet", tmp_path)
    assert message.format(root, root) in str(raised.value)


def test_a_missing_folder_or_set_is_reported(tmp_path):
    with pytest.raises(ValueError, match="data_dir is not given. It should hold TinyImageNet's"):
        load("tiny_imagenet")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} should hold TinyImageNet's wnids.txt"):
        load("tiny_imagenet", tmp_path)
