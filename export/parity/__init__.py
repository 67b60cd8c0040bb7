"""Whether an exported model agrees with its checkpoint."""
