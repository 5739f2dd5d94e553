"""What several benchmarks share: data, workers, memory and tables."""
