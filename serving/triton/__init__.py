"""The Triton server from pip: its process, its options, and what watches over it."""
