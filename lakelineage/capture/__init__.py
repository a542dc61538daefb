"""Reads of Delta tables, recorded as inputs of the active run: by asking for them, or without further code."""
