"""Which other domains help to recommend in a domain, and which do harm."""
