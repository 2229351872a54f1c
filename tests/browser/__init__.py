"""Tests of the viewer in a real browser; a package, so that they can share one."""
