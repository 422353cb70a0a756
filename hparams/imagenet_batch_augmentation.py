"""AlexNet, MobileNet and ResNet-50 on ImageNet: batch augmentation, Table 1 and Fig. 3 of its paper.

alexnet, alexnet_m8, mobilenet, mobilenet_m4, resnet50, resnet50_m4: M instances of each sample.

`batch-augmentation.txt`, section 3.2: the regime of Goyal et al. (2017) for all, B = 256, learning rate 0.1 divided
by 10 at 30, 60 and 80 of 90 epochs, momentum 0.9, weight decay 1e-4 of all but normalisation (here of kernels: biases
do not decay either, nor do MobileNet's depthwise kernels, as in convNet.pytorch, the code of the first author).
ResNet-50 sees 8% to 100% of an image, "distributed evenly" (areas uniform, as torchvision draws them), the others a
random 224 x 224 of one resized to a shorter side of 256, as in that code; all are flipped, no colours: also not the
colour noise of Krizhevsky et al. (2012), which the paper's words for AlexNet include and that code leaves out. AlexNet
is that code's, with batch normalisation.

ResNet-50 was "trained using multiple feed-forwards and gradient accumulations, creating a ghost batch norm": its
instances are in different sub-batches of 64 (the size of a GPU's batch in that code). Those of the others share a
sub-batch. On 8 ranks add --config.sub_batch_size=32 to resnet50_m4. We have not run these.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

B = 256
NETWORKS = {
    "alexnet": {"name": "alexnet", "form": "imagenet", "batch_norm": True, "dropout": 0.5},
    "mobilenet": {"name": "mobilenet"},
    "resnet50": {"name": "resnet50", "stem": "imagenet", "zero_init_last_gamma": True},
}
INSTANCES = {"alexnet_m8": 8, "mobilenet_m4": 4, "resnet50_m4": 4}
VARIANTS = (*NETWORKS, *INSTANCES)


def get_config(variant: str = "resnet50_m4") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    network = variant.partition("_")[0]
    config.epochs = 90
    config.batch_size = B * INSTANCES.get(variant, 1)
    config.batch_augmentation.instances = INSTANCES.get(variant, 1)
    if variant in INSTANCES:  # else ranks take their share of the 256 at once
        config.sub_batch_size = 128
    config.data.update({"name": "imagenet", "standardize": "imagenet"})
    config.data.update({"image_size": 224, "flip": True, "resize_then_crop": True})
    if network == "resnet50":
        crops = {"crop_area": (0.08, 1.0), "crop_draw": "area"}
        config.data.update({"resize_then_crop": False, **crops})
    if variant == "resnet50_m4":
        config.sub_batch_size = 64
        config.batch_augmentation.placement = "rank"
    config.schedule.update({"name": "step", "epochs": (30, 60, 80), "factor": 0.1})
    config.model = recipes.section("model", **NETWORKS[network], weight_decay=1e-4)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    return config
