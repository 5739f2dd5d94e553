"""Other programs' data and models at the edge of a space: importers, chat models."""
