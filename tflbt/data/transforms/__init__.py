"""Transforms of whole batches of images, functions of (images, seeds): augmentation and standardisation.

Augmentation: `pad_crop_flip` (and `chain`), `cutout`, `colour`, `random_resized_crop`. What a sample gets depends on
its seeds alone (`tflbt.data.sample_seeds`), never on its batch or rank.
"""
