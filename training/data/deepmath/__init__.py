"""Mizar40 statements and premise pairs."""
