"""A synthetic segment with real geometry, and a server that gives it as the data server does."""

from __future__ import annotations

from s5engine.phantom.faults import Fault
from s5engine.phantom.server import LayerServer, Request
from s5engine.phantom.virtual import VirtualFile

__all__ = ["Fault", "LayerServer", "Request", "VirtualFile"]
