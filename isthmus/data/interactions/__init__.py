"""What users did with items: files, frames and rows become one checked, deduplicated table."""
