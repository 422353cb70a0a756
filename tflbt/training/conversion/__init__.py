"""What becomes of a Keras model and its classes: made a LargeBatchModel, saved, had as a plain model again."""
