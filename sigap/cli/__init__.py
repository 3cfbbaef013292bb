"""What the words of `./run` do. Each module imports only what it needs, so that `./run status` answers at once."""
