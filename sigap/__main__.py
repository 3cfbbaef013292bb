"""Runs the command line: `python -m sigap`, which is what `./run` becomes."""

from sigap.cli.main import main

if __name__ == "__main__":
    main()
