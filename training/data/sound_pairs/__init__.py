"""Sounds with the distributions of two image teachers."""
