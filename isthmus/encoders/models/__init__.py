"""A file per model family: each turns content into vectors behind the `Encoder` contract."""
