"""Generates images of codes, styles and units."""
