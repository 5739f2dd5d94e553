"""Published indexes: planned, built, checked, opened, searched together with the delta."""
