"""What a person can ask of the models: a folder for each task."""
