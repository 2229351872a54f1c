"""Resumable work: its journal, its attempts, and where it is done."""
