"""Commands that answer a question about a method offline: no server is asked."""
