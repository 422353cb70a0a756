"""Data sets, one file each, read from their original files; and the forms in which they are handed over.

`image_data` (images in memory), `stored_images` (names of images that are read when their turn comes: `image_folder`,
`image_records`) and `text_data` (windows of words) have the same attributes: `x_train`, `y_train`, `x_test`, `y_test`,
`classes`, `name`. `archives` finds and opens files, `holdout` takes validation samples from the training set.
"""
