"""The items table, its embedding cache and quarantine, and what writes them."""
