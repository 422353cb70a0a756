"""The recipes of the batch augmentation paper are its table 1, with instances and regimes (ResNet-44 included)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tflbt import recipes
from tflbt.control.batch_plan import BatchPlan
from tflbt.data import BatchAugmentation
from tflbt.recipes import build

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
CIFAR_STEPS, GOYAL = ("step", (60, 120, 160), 0.2), ("step", (30, 60, 80), 0.1)
HE = ("step", (82, 123), 0.1)
# Table 1: file, variants without and with instances, data set, M, B, epochs, learning rate, its decay, weight decay,
# pixels cut out.
TABLE_1 = {
    "ResNet44": ("cifar_resnet44", "baseline", "ba", "cifar10", 10, 64, 164, 0.1, HE, 1e-4, 0),
    "ResNet44 + cutout": (
        "cifar_resnet44", "cutout", "cutout_m40", "cifar10", 40, 64, 164, 0.1, HE, 1e-4, 16
    ),
    "ResNet44 + cutout, 100": (
        "cifar_resnet44", "cifar100_cutout", "cifar100_cutout_m40", "cifar100", 40, 64, 164, 0.1,
        HE, 1e-4, 16,
    ),
    "VGG": (
        "cifar_vgg16", "cutout", "cutout_m32", "cifar10", 32, 64, 200, 0.1, CIFAR_STEPS, 5e-4, 16
    ),
    "VGG, 100": (
        "cifar_vgg16", "cifar100_cutout", "cifar100_cutout_m32", "cifar100", 32, 64, 200, 0.1,
        CIFAR_STEPS, 5e-4, 16,
    ),
    "Wide-ResNet": (
        "cifar_wrn28_10", "cutout", "cutout_m6", "cifar10", 6, 128, 200, 0.1, CIFAR_STEPS, 5e-4, 16
    ),
    "Wide-ResNet, 100": (
        "cifar_wrn28_10", "cifar100_cutout", "cifar100_cutout_m10", "cifar100", 10, 128, 200, 0.1,
        CIFAR_STEPS, 5e-4, 16,
    ),
    "DARTS": (
        "cifar10_darts", "baseline", "m10", "cifar10", 10, 96, 600, 0.025, ("cosine",), 3e-4, 16
    ),
    "DenseNet": (
        "cifar100_densenet100_12", "baseline", "m4", "cifar100", 4, 64, 300, 0.1,
        ("step", (150, 225), 0.1), 1e-4, 0,
    ),
    **{
        network: (
            "imagenet_batch_augmentation", network, f"{network}_m{m}", "imagenet", m, 256, 90, 0.1,
            GOYAL, 1e-4, 0,
        )
        for network, m in (("alexnet", 8), ("mobilenet", 4), ("resnet50", 4))
    },
    "LSTM": (
        "penn_treebank_word_lstm", "baseline", "m10", "penn_treebank", 10, 20, 500, 30.0,
        ("constant",), 1.2e-6, 0,
    ),
}  # fmt: skip
NETWORKS = {
    "cifar_resnet44": {"name": "cifar_resnet", "depth": 44},
    "cifar_vgg16": {"name": "vgg16", "units": (4096, 4096), "dropout": 0.5},
    "cifar_wrn28_10": {"name": "wide_resnet", "depth": 28, "width": 10},
    "cifar10_darts": {"name": "darts", "drop_path": 0.2},
    "cifar100_densenet100_12": {"name": "densenet", "depth": 100, "growth_rate": 12},
    "penn_treebank_word_lstm": {
        "name": "word_lstm", "embedding": 400, "units": 1150, "layers": 3, "dropout_input": 0.4,
        "dropout_hidden": 0.25,
    },
}  # fmt: skip
each_network = pytest.mark.parametrize("network", TABLE_1)


def load(network: str, augmented: bool):
    file, plain, with_instances, *_ = TABLE_1[network]
    return recipes.load(f"{HPARAMS}/{file}.py:{with_instances if augmented else plain}")


@each_network
@pytest.mark.parametrize("augmented", [False, True])
def test_table_1(network, augmented):
    file, _, _, name, m, b, epochs, rate, decay, weight_decay, pixels = TABLE_1[network]
    config = load(network, augmented)
    m = m if augmented else 1
    assert config.batch_augmentation.instances == m and config.batch_size == m * b
    assert (config.epochs, config.optimizer.learning_rate) == (epochs, rate)
    assert config.optimizer.get("momentum", 0) == (0 if network == "LSTM" else 0.9)
    schedule = config.schedule
    steps = (tuple(schedule.epochs), schedule.factor) if schedule.name == "step" else ()
    assert (schedule.name, *steps)[: len(decay)] == decay
    decays = config.model.get("weight_decay", 0), config.optimizer.get("weight_decay")
    assert max(decay or 0 for decay in decays) == weight_decay
    assert (config.data.name, config.data.cutout_size) == (name, pixels)
    if name.startswith("cifar"):
        # pad_random_crop of convNet.pytorch, whose cutout is {"holes": 1, "length": 16} for every data set
        shifted = {"padding": 4, "pad_with": "black", "flip": True, "standardize": "per_channel"}
        assert shifted.items() <= config.data.to_dict().items()
    assert NETWORKS.get(file, {}).items() <= config.model.to_dict().items()


@each_network
def test_instances_are_all_that_is_added(network):
    plain, augmented = (load(network, more).to_dict() for more in (False, True))
    for config in (plain, augmented):
        for key in ("name", "batch_size", "sub_batch_size", "batch_augmentation"):
            del config[key]
    assert plain == augmented


@each_network
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_batches_divide_over_ranks(network, ranks):
    b = TABLE_1[network][5]
    for augmented in (False, True):
        config = load(network, augmented)
        size = config.sub_batch_size
        if network == "LSTM" and ranks == 8:
            return  # 20 windows over 8 ranks
        if config.batch_augmentation.placement == "rank" and size is not None:
            size = min(size, b // ranks)  # as the files say
        plan = BatchPlan(config.batch_size, size, ranks)
        BatchAugmentation(**config.batch_augmentation).check(
            plan.sub_batches, plan.samples_a_rank_computes, ranks
        )


def test_imagenets_augmentations_are_section_3_2s():
    wide = {"crop_area": (0.08, 1.0), "crop_draw": "area", "resize_then_crop": False}
    mild = {"crop_area": (), "resize_then_crop": True}
    for network, crops in (("resnet50", wide), ("mobilenet", mild), ("alexnet", mild)):
        data = load(network, True).data.to_dict()
        assert {**crops, "flip": True, "hue": 0.0, "image_size": 224}.items() <= data.items()
    resnet = load("resnet50", True)
    assert resnet.model.zero_init_last_gamma
    # Accumulated, which makes ghosts.
    assert (resnet.batch_augmentation.placement, resnet.sub_batch_size) == ("rank", 64)
    assert load("alexnet", True).model.to_dict()["batch_norm"]


def test_nesterov_and_clipping_are_the_authors():
    nesterov = {
        network for network in TABLE_1 if load(network, True).optimizer.get("nesterov", False)
    }
    assert nesterov == {"Wide-ResNet", "Wide-ResNet, 100", "DenseNet"}
    clipped = {network: load(network, True).optimizer.global_clipnorm for network in TABLE_1}
    assert {network: norm for network, norm in clipped.items() if norm} == {
        "DARTS": 5.0,
        "LSTM": 0.25,
    }


@pytest.mark.parametrize("m", [2, 4, 8, 16, 32])
def test_figure_1(m):
    config = recipes.load(f"{HPARAMS}/cifar_resnet44.py:cutout_m{m}")
    assert (config.batch_augmentation.instances, config.batch_size) == (m, 64 * m)


def test_figure_5_has_as_many_updates_in_all_three():
    updates = []
    for row in ("baseline", "ba", "regime_adaptation"):
        config = recipes.load(f"{HPARAMS}/cifar_resnet44.py:{row}")
        samples = config.batch_size / config.batch_augmentation.instances
        updates.append(config.epochs / samples)
    assert updates == pytest.approx([164 / 64] * 3)


def test_regime_adaptation_is_hoffer_et_als():
    """bigBatch/main_gbn.py: lr * (640 / 64) ** 0.5, mini-batches of 64 normalised apart, clip_grad_norm(5.0)."""
    config = recipes.load(f"{HPARAMS}/cifar_resnet44.py:regime_adaptation")
    assert (config.batch_size, config.epochs, tuple(config.schedule.epochs)) == (
        640,
        1640,
        (820, 1230),
    )
    assert config.optimizer.learning_rate == pytest.approx(0.316, abs=3e-4)
    assert (config.model.ghost_batch_size, config.optimizer.global_clipnorm) == (64, 5.0)
    build.check(config)


@pytest.mark.parametrize(("batch_size", "rate"), [(512, 2.0), (4096, 10.0)])
def test_table_2(batch_size, rate):
    config = recipes.load(f"{HPARAMS}/imagenet_alexnet.py:batch_{batch_size}")
    assert (config.batch_size, config.epochs, config.warmup.epochs) == (batch_size, 100, 5)
    lars = {"name": "LARS", "learning_rate": rate, "trust_coefficient": 0.001, "momentum": 0.9}
    assert {**lars, "weight_decay": 5e-4}.items() <= config.optimizer.to_dict().items()
    assert (config.schedule.name, config.schedule.power, config.schedule.end_factor) == (
        "polynomial", 2, 0,
    )  # fmt: skip
    assert config.model.batch_norm
    for ranks in (1, 2, 4, 8):
        BatchPlan(batch_size, 512 // ranks, ranks)


def test_the_lstm_trains_on_files(tmp_path):
    for part in ("train", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text("a b c d e f g h\n" * 32)  # 288 words
    config = load("LSTM", True)
    with config.unlocked():
        config.model.update({"embedding": 4, "units": 4, "layers": 1})
    config.update_from_flattened_dict({"epochs": 1, "batch_size": 4})
    config.batch_augmentation.instances = 2
    made = build.build(config, tmp_path)
    made.model.run_eagerly = True
    history = made.fit([]).history
    assert made.train[0].shape == (4, 70)  # windows: 2 an update, 2 instances of each
    assert int(made.model.optimizer.iterations) == 2 and made.model.samples_seen == 8
    assert 0 < history["val_loss"][0] < 5
