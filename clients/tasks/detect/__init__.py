"""Finds the objects on images."""
