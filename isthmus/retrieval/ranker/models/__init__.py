"""Ranker models, from simple to rich: a file each, one contract."""
