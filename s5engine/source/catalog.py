"""Segments that people ask for by name."""

from __future__ import annotations

#: Where the 2025 title segments lie on the data server.
_S5 = "https://dl.ash2txt.org/community-uploads/bruniss/scrolls/s5/autogens"

#: Segment name → address of its layers.
SEGMENTS = {name: f"{_S5}/{name}/layers/" for name in ("03192025", "02110815")}
