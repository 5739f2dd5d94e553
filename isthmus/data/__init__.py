"""Data in: tables of items, interactions and pairs from files, frames or rows, and their media."""
