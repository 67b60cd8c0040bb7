"""The systems: a module or a folder for each, called as the system."""
