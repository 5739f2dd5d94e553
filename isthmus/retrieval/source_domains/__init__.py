"""Source domains: which other domains help to recommend from a target domain, and which hurt."""
