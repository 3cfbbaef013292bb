"""What everybody who asks Mage has to know."""

from __future__ import annotations

OWNER = "admin@sigap.local"
"""Whom Mage is signed in as; the password is the generated secret `mage_password`."""

PASSWORD = "mage_password"  # noqa: S105 - its name, not itself
"""Name of the secret."""

JWT = "mage_jwt"
"""Name of the secret that signs the sessions of its page."""

CLIENT_ID = "zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"
"""The client id of Mage's own page, the same in every installation; not a secret."""
