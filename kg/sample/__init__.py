"""A synthetic catalogue: good enough to learn from, honest about being synthetic."""

from kg.sample.catalogue import write_sample

__all__ = ["write_sample"]
