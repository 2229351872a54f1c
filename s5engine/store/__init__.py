"""Stores: opening any volume, filling a store from a source, and the record of what is done."""
