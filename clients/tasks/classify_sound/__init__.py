"""Names what can be heard."""
