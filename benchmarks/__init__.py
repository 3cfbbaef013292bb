"""Every figure that the README states, each by one command: `./run bench`."""
