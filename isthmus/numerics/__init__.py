"""Arrays, sparse matrices, metrics, statistics, sampling and the training loop."""
