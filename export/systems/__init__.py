"""What each system exports and how it is evaluated; a module or a folder for each, called as the system."""
