"""Fixtures for the tests of stores."""

from tests.kg.stores.in_process import no_room, scans_here

__all__ = ["no_room", "scans_here"]
