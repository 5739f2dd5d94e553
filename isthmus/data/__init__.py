"""What comes in: files, frames and rows become checked item tables."""
