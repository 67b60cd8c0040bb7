"""Scores collections offline: sources, shards, workers, output."""
