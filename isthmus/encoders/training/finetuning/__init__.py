"""Fine-tuning of encoders on pairs of a domain, with little forgetting in other domains."""
