"""How fast and how large the engine is beside the 2025 way; see README.md."""
