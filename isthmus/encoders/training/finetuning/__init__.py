"""Fine-tuning: an encoder learns what goes together in a domain, and forgets little elsewhere."""
