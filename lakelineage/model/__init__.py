"""Frozen values and rules of naming: what the rooms above speak of. No I/O happens here."""
