"""The applications that the API is held against; each runs in an environment of its own."""
