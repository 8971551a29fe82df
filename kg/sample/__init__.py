"""A synthetic catalogue: regular enough to learn from, but no substitute for real data."""

from kg.sample.catalogue import write_sample

__all__ = ["write_sample"]
