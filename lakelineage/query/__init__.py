"""Readers over the published tables, the newer facts and the journal; one folder per engine."""
