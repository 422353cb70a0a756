"""Side-by-side measurements: one module each, run by `python -m tflbt.benchmarks NAME`."""
