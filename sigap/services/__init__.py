"""The servers behind `./run`: how each is started, watched, restarted and ended."""
