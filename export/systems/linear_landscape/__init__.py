"""The loss surface of linear networks as a served model: `models` holds the graph."""
