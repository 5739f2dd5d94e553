"""Differential privacy of one user over all domains: accountant, statistics with noise, budget."""
