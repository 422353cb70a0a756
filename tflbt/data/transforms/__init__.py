"""Transforms of whole batches of images: augmentation and standardisation."""
