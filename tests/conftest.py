"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# Time is never asserted: a busy machine must not fail a test.
settings.register_profile("s5engine", deadline=None)
settings.load_profile("s5engine")
