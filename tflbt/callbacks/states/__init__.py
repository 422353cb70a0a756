"""The state of a fit's callbacks, which a checkpoint keeps."""
