"""The words of `./run`. Each imports only what it needs, so that `./run status` answers at once."""
