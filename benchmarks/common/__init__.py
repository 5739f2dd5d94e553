"""Shared parts of the benchmarks: data, workers, memory and tables."""
