"""How often and how many at once: token buckets and counts, in one worker's memory."""

from __future__ import annotations

import ipaddress
import math
import time

from backend.problems import RequestError
from sigap.settings import Settings

_REMEMBERED = 10_000


class Buckets:
    """A token bucket each for many callers, kept as the time at which it will be full (GCRA: one number a caller).

    Args:
        rate: Tokens a second that flow into a bucket.
        size: Tokens that a bucket holds.
    """

    def __init__(self, rate: float, size: float) -> None:
        self._each = 1 / rate
        # A hair more, against the rounding of sums.
        self._slack = (size - 1) / rate + 1e-6
        self._full_at: dict[str, float] = {}

    def take(self, who: str) -> float:
        """Takes a token; seconds until there is one when there is none, else 0."""
        now = time.monotonic()
        full_at = self._full_at.get(who)
        if full_at is None:
            self._make_room(now)
            full_at = now
        elif full_at < now:
            full_at = now
        elif full_at - now > self._slack:
            return full_at - now - self._slack
        self._full_at[who] = full_at + self._each
        return 0.0

    def wait(self, who: str) -> float:
        """Seconds until there is a token, 0 when there is one; takes none."""
        return max(0.0, self._full_at.get(who, 0.0) - time.monotonic() - self._slack)

    def _make_room(self, now: float) -> None:
        if len(self._full_at) < _REMEMBERED:
            return
        # A full bucket is as good as none.
        self._full_at = {who: at for who, at in self._full_at.items() if at > now}
        while len(self._full_at) >= _REMEMBERED:
            del self._full_at[next(iter(self._full_at))]


class Slots:
    """Counts what runs at once.

    Args:
        of_key: Most of one caller.
        in_all: Most in all.
        what: What runs, in the plural, for the refusal's sentence.
    """

    def __init__(self, of_key: int, in_all: int, what: str) -> None:
        self._of_key = of_key
        self._in_all = in_all
        self._what = what
        self._running: dict[str, int] = {}
        self._total = 0

    def enter(self, who: str) -> None:
        """Counts one more; `leave` must follow unless this raises.

        Raises:
            RequestError: 429 for too many of this caller, 503 for too many in all.
        """
        running = self._running.get(who, 0)
        if running >= self._of_key:
            raise _limited(429, "concurrency", f"{running} {self._what} of yours are being answered.", 1)
        if self._total >= self._in_all:
            raise _limited(503, "concurrency", f"{self._total} {self._what} are being answered.", 1)
        self._running[who] = running + 1
        self._total += 1

    def leave(self, who: str) -> None:
        """One was answered."""
        self._total -= 1
        running = self._running[who] - 1
        if running:
            self._running[who] = running
        else:
            del self._running[who]


class Limits:
    """The limits of one worker.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: Settings) -> None:
        of_key, in_all = settings.key_rate, settings.rate_in_all
        self._of_key = Buckets(of_key, max(of_key, 1)) if of_key else None
        self._in_all = Buckets(in_all, max(in_all, 1)) if in_all else None
        self.requests = Slots(settings.concurrent_per_key, settings.concurrent_in_all, "requests")
        # A place for others is left when one caller uploads all it can.
        uploads = settings.concurrent_uploads
        self.uploads = Slots(max(1, uploads // 2), uploads, "batches and files")
        self._failures = Buckets(1 / 6, settings.token_failures)

    def take(self, who: str) -> None:
        """Counts a request against the rates.

        Raises:
            RequestError: 429 for too many of this caller, 503 for too many in all.
        """
        if self._of_key is not None and (wait := self._of_key.take(who)):
            raise _limited(429, "rate", "You sent more requests a second than you may.", wait)
        if self._in_all is not None and (wait := self._in_all.take("")):
            raise _limited(503, "rate", "The API gets more requests a second than it takes.", wait)

    def check_failures(self, address: str) -> None:
        """Lets nobody try keys who sent too many wrong ones.

        Raises:
            RequestError: 429.
        """
        if wait := self._failures.wait(address):
            raise _limited(429, "token-failures", "Too many wrong keys came from your address.", wait)

    def failed(self, address: str) -> None:
        """Counts a wrong key."""
        self._failures.take(address)


def address(client: tuple[str, int] | None) -> str:
    """A name for the address of a caller; of IPv6 the network, since one caller has 2^64 addresses there."""
    if client is None:
        return "@"
    host = client[0]
    if ":" in host:
        try:
            host = str(ipaddress.IPv6Network((host.partition("%")[0], 64), strict=False))
        except ValueError:
            return f"@{host}"
    return f"@{host}"


def _limited(status: int, kind: str, message: str, wait: float) -> RequestError:
    seconds = max(1, math.ceil(wait))
    return RequestError(
        status,
        f"limit-{kind}",
        "Too many requests",
        message,
        remedy=f"Try again in {seconds} s.",
        headers={"retry-after": str(seconds)},
    )
