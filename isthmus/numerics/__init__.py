"""Arrays in, arrays out: metrics, statistics, sparse rows, sampling. Knows no item and no user."""
