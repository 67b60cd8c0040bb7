"""Images and sounds: read from files, drawn into pictures."""
