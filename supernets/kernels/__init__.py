"""C++ kernels for the training step on a CPU, built on the user's machine."""
