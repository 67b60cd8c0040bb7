"""`python -m neurips16`, and `python -m neurips16.clients`: the command line."""

from neurips16.clients.command import main

if __name__ == "__main__":
    main()
