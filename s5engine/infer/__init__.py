"""Tiled inference: tiles through the network, then blended into ink."""
