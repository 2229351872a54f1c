"""Lazy, pure steps on a surface volume: contrast, intensity, parts, papyrus mask."""
