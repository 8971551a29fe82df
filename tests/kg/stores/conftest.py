"""Fixtures for the tests of stores."""

from tests.kg.stores.in_process import scans_here

__all__ = ["scans_here"]
