"""Whether a server of this container answers: `python healthy.py http://127.0.0.1:8000/health/live`.

With Python's own library, so that an image needs no other program for it. Exit code 1 when it doesn't.
"""

import sys
import urllib.request


def main() -> int:
    """Asks once."""
    try:
        # No proxy: the server is in this container.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(sys.argv[1], timeout=4) as answer:
            return 0 if answer.status < 400 else 1
    except OSError as error:  # of which every HTTP error is one
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
