"""Latencies at a fixed rate: `python -m benchmarks.serving.paced` in a process of its own.

Requests are due at fixed moments, whatever has been answered (an open loop). A latency counts from the moment that its
request was due, so an answer that comes late also counts against those that had to wait behind it.

Reads one JSON object from stdin (host, port, path, headers, body, rate, seconds, connections) and prints one.
"""

from __future__ import annotations

import collections
import json
import select
import socket
import sys
import time
from typing import Any

GRACE_SECONDS = 5.0


class Connection:
    """One connection with at most one request under way."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(self._to, timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._read = b""
        self.due = 0.0

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def send(self, request: bytes, due: float) -> None:
        """Sends a request that was due at that moment."""
        self.due = due
        self.socket.sendall(request)

    def status(self) -> int | None:
        """The status of the answer once it is whole, 0 when the connection was lost."""
        try:
            data = self.socket.recv(262144)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.socket.close()
            self._open()
            return 0
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return None
        lower = head.lower()
        at = lower.index(b"content-length:") + 15
        if len(body) < int(lower[at:].split(b"\r\n", 1)[0]):
            return None
        self._read = b""
        return int(head[9:12])


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Sends `rate` requests a second for `seconds`."""
    body = job["body"].encode()
    head = [f"POST {job['path']} HTTP/1.1", f"host: {job['host']}:{job['port']}", f"content-length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in job["headers"].items()]
    request = "\r\n".join([*head, "", ""]).encode() + body
    free = collections.deque(Connection(job["host"], job["port"]) for _ in range(job["connections"]))
    busy: set[Connection] = set()
    latencies: list[float] = []
    statuses: collections.Counter[int] = collections.Counter()
    total = int(job["rate"] * job["seconds"])
    begin = time.perf_counter() + 0.05
    sent = 0
    while (sent < total or busy) and time.perf_counter() < begin + job["seconds"] + GRACE_SECONDS:
        now = time.perf_counter()
        while sent < total and free and (due := begin + sent / job["rate"]) <= now:
            connection = free.popleft()
            connection.send(request, due)
            busy.add(connection)
            sent += 1
        wait = max(0.0, begin + sent / job["rate"] - time.perf_counter()) if sent < total and free else 0.1
        # select() takes microseconds; epoll would round up to milliseconds.
        for connection in select.select(list(busy), [], [], wait)[0]:
            status = connection.status()
            if status is not None:
                latencies.append(time.perf_counter() - connection.due)
                statuses[status] += 1
                busy.discard(connection)
                free.append(connection)
    latencies.sort()
    at = {f"p{share:g}": _quantile(latencies, share / 100) for share in (50, 90, 99, 99.9)}
    return {"sent": sent, "unanswered": total - len(latencies), "statuses": dict(statuses), **at}


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
