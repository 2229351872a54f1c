"""Whole jobs, each as short as the line they follow; they use the public names alone."""
