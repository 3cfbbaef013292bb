"""Makes the buckets that are missing: `python -m sigap.data.buckets NAME ...`, once, where an object store is set up.

Nothing else of Sigap makes one, so that a slip of the pen in a URL makes none.
"""

from __future__ import annotations

import sys

from sigap.data.object_store import Place, client, translated
from sigap.errors import SigapError
from sigap.settings import Settings, get_settings

_THERE_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def make(settings: Settings, name: str) -> bool:
    """Makes a bucket; whether there was none.

    Raises:
        ServiceError: No key, a wrong one, a name that can't be a bucket's, or no answer.
    """
    from botocore.exceptions import ClientError

    with translated(settings, Place(name, ""), "data versions and MLflow's artefacts"):
        store = client(settings)
        if name in (bucket["Name"] for bucket in store.list_buckets()["Buckets"]):
            return False
        try:
            store.create_bucket(Bucket=name)
        except ClientError as error:
            # Somebody was faster.
            if error.response["Error"]["Code"] in _THERE_ALREADY:
                return False
            raise
        return True


def main() -> None:
    """Makes those that the arguments name."""
    try:
        for name in sys.argv[1:]:
            state = "made" if make(get_settings(), name) else "there already"
            sys.stdout.write(f"Bucket {name}: {state}.\n")
    except SigapError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
