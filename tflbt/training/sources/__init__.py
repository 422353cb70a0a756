"""What `fit` and `evaluate` accept as data, read as this rank's sub-batches."""
