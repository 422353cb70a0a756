"""The mushrooms' loader on small files in the original format, whole and damaged, and on the real one."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from tflbt.data import fit_standardize, load, load_mushroom, with_holdout
from tflbt.data.sets import mushroom

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
REAL = Path(__file__).parents[4] / "shared" / "data"
NAME = "agaricus-lepiota.data"
VALUES = list(mushroom.ATTRIBUTES.values())
LINE = "p,x,s,n,t,p,f,c,n,k,e,e,s,s,w,w,p,w,o,p,k,s,u"  # the first of the real file


def lines(count):
    random = np.random.default_rng(0)
    rows = [[known[random.integers(len(known))] for known in ("ep", *VALUES)] for _ in range(count)]
    return [",".join(row) for row in rows]


def write(folder, rows, packing="", name=NAME):
    folder.mkdir(exist_ok=True)
    (folder / (name + packing)).write_bytes(PACK[packing]("\n".join(rows).encode() + b"\n"))


def decoded(data, split):
    """The lines that samples were made of, as a set that counts."""
    x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
    bounds = np.cumsum([0, *map(len, VALUES)])
    rows = []
    for sample, label in zip(x[:, 0, 0], y):
        parts = [sample[a:b] for a, b in zip(bounds, bounds[1:])]
        assert all(sorted(part) == [0] * (len(part) - 1) + [255] for part in parts)
        letters = [known[part.argmax()] for known, part in zip(VALUES, parts)]
        rows.append(",".join(["ep"[label], *letters]))
    return rows


@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
@pytest.mark.parametrize("subfolder", ["", "mushroom"])
def test_every_line_is_in_one_part_as_one_hot_features(tmp_path, packing, subfolder):
    rows = lines(41)
    write(tmp_path / subfolder, rows, packing)
    data = load("mushroom", tmp_path)
    assert data.x_train.shape == (34, 1, 1, 126) and data.x_test.shape == (7, 1, 1, 126)
    assert sorted(decoded(data, "train") + decoded(data, "test")) == sorted(rows)
    assert (data.image_shape, data.classes, data.name) == ((1, 1, 126), 2, "mushroom")


def test_the_split_is_numpys_permutation_and_its_seeds(tmp_path):
    """Documented, so that others can make it: the first 85% of ``Generator(PCG64(seed)).permutation``."""
    rows = lines(40)
    write(tmp_path, rows)
    for seed in (0, 3):
        order = np.random.Generator(np.random.PCG64(seed)).permutation(40)
        data = load_mushroom(tmp_path, seed)
        assert decoded(data, "train") == [rows[i] for i in order[:34]]
        assert decoded(data, "test") == [rows[i] for i in order[34:]]
    assert decoded(load("mushroom", tmp_path), "test") != decoded(data, "test")  # seed 0 and 3


def test_known_letters_stand_at_their_channels(tmp_path):
    write(tmp_path, [LINE] * 2)
    features = np.flatnonzero(load("mushroom", tmp_path).x_train[0])
    # cap-shape x is the third of bcxfks; cap-surface s the last of fgys, after 6; cap-color n the first, after 10; ...
    assert features[:4].tolist() == [2, 9, 10, 20]
    assert features[-1] == 126 - 7 + "glmpuwd".index("u") and len(features) == 22


def test_divide_255_makes_zeros_and_ones(tmp_path):
    write(tmp_path, lines(20))
    data = load("mushroom", tmp_path)
    x = fit_standardize(data.x_train, "divide_255")(data.x_train).numpy()
    assert x.dtype == np.float32 and set(np.unique(x)) == {0.0, 1.0}
    np.testing.assert_array_equal(x.sum((1, 2, 3)), 22)


def test_training_samples_can_be_held_out(tmp_path):
    write(tmp_path, lines(40))
    data = load("mushroom", tmp_path)
    kept = with_holdout(data, 10)
    assert sorted(decoded(kept, "train") + decoded(kept, "test")) == sorted(decoded(data, "train"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE[:-2], "line 3, has 22 columns, not 23. It should be .* 23 letters per line"),
        (LINE + ",u", "line 3, has 24 columns, not 23"),
        ("", "line 3, has 1 columns, not 23"),
        ("x" + LINE[1:], "line 3, has the class 'x', neither e nor p"),
        ("" + LINE[1:], "line 3, has the class '', neither e nor p"),
        (LINE[:-1] + "z", r"line 3, has habitat 'z', which is none of g, l, m, p, u, w, d"),
        (LINE.replace("p,x", "p,"), "line 3, has cap-shape '', which is none of b"),
        (LINE.replace("p,x", "p,bc"), "line 3, has cap-shape 'bc', which is none of b"),
        (LINE.replace("t,p", "?,p"), "line 3, has bruises. '.', which is none of t, f"),
    ],
)
def test_a_wrong_line_is_named_and_what_it_should_be(tmp_path, line, message):
    write(tmp_path, [LINE, LINE, line, LINE])
    with pytest.raises(ValueError, match=message) as raised:
        load("mushroom", tmp_path)
    assert str(tmp_path / NAME) in str(raised.value)


@pytest.mark.parametrize("rows", [[], [LINE]])
def test_a_file_without_samples_for_both_parts_is_named(tmp_path, rows):
    write(tmp_path, rows)
    with pytest.raises(ValueError, match=rf"{NAME} holds {len(rows)} line\(s\). It should be"):
        load("mushroom", tmp_path)


def test_a_missing_file_or_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"There is no {NAME} .*{tmp_path}"):
        load("mushroom", tmp_path)
    with pytest.raises(ValueError, match=f"data_dir is not given. It should hold {NAME}"):
        load("mushroom")
    write(tmp_path, [LINE] * 9, ".xz")
    path = tmp_path / f"{NAME}.xz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OSError, match=f"{NAME}.xz is damaged .* It should be {NAME}"):
        load("mushroom", tmp_path)


@pytest.mark.skipif(not (REAL / "mushroom").is_dir(), reason="the real file is not here")
def test_the_real_file_has_the_published_counts_and_the_papers_split():
    data = load("mushroom", REAL)
    assert (len(data.x_train), len(data.x_test)) == (6905, 1219)
    train, test = np.bincount(data.y_train), np.bincount(data.y_test)
    assert (train + test).tolist() == [4208, 3916]  # edible, poisonous
    assert train.tolist() == [3548, 3357]  # of this split, always the same
    every = np.concatenate([data.x_train, data.x_test])[:, 0, 0] // 255
    missing = sum(map(len, VALUES[:10])) + VALUES[10].index("?")
    assert every[:, missing].sum() == 2480
    assert (every.sum(0) == 0).sum() == 9  # values that are listed and do not occur
