"""Rounds of refinement: from a run back to the labels that the next training reads."""
