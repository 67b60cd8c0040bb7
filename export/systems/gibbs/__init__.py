"""Gibbs sampling as a served model: `models` holds the graph."""
