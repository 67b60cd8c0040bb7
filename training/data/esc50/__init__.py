"""Environmental sounds in ESC-50's layout."""
