"""`./run ingest`: candles from the exchange, live and for the past."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.live import Live
from rich.table import Table

from sigap.cli.output import Steps, console, say
from sigap.cli.pipeline import prepare_tables
from sigap.cli.session import StopRequested, stop_on_signal, supervised
from sigap.data.ingest import Ingestion, Progress
from sigap.services.service import check_ports, recorded
from sigap.services.stack import services
from sigap.services.supervisor import supervisor_record
from sigap.settings import Settings

_LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Wish:
    """What is to be ingested.

    Attributes:
        product: Such as BTC-USD.
        step: `1m`, `1h` or `1d`.
        since: Candles from here on; None for those that are missing.
        mock: Whether a mock exchange on this machine is asked.
        once: Whether to end when nothing is missing any more.
    """

    product: str
    step: str
    since: datetime | None
    mock: bool
    once: bool


def ingest(settings: Settings, wish: Wish) -> int:
    """Ingests until Ctrl-C, or once; starts PostgreSQL when nothing of Sigap runs.

    Returns:
        Exit code.

    Raises:
        ServiceError: The exchange or the database can't be used.
    """
    try:
        with stop_on_signal(), database(settings), _exchange(settings, wish) as used:
            prepare_tables(settings)
            _run(used, wish)
    except StopRequested:
        if not wish.once:
            say("\nStopped. What is missing is asked for when you start it again.")
        return 130 if wish.once else 0
    return 0


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[None]:
    """PostgreSQL for as long as the block: the one that runs, one's own, or one of our own."""
    running = supervisor_record(settings.state) is not None and any(
        record["name"] == "postgres" for record in recorded(settings.state)
    )
    if running or not settings.embedded_postgres:
        yield
        return
    with supervised(settings) as (supervisor, reporter):
        wanted = services(settings, ("postgres",))
        check_ports(wanted)
        with Steps("Starting what ingestion needs") as steps:
            reporter.steps = steps
            supervisor.start(wanted)
            supervisor.wait_ready()
            reporter.steps = None
        yield


@contextlib.contextmanager
def _exchange(settings: Settings, wish: Wish) -> Iterator[Settings]:
    """Settings that lead to the exchange that is wished for."""
    if not wish.mock:
        yield settings
        return
    from sigap.data.mock_exchange import MockExchange

    with MockExchange(product=wish.product) as mock:
        say(f"Mock exchange at {mock.websocket_url}: what it says is made up, and its candles are marked so.")
        yield settings.model_copy(
            update={"exchange_websocket_url": mock.websocket_url, "exchange_rest_url": mock.rest_url}
        )


def _run(settings: Settings, wish: Wish) -> None:
    show = _Show(wish)
    stop = threading.Event()
    ingestion = Ingestion(settings, wish.product, wish.step, since=wish.since, mock=wish.mock, stop=stop, watch=show)
    with show:
        try:
            ingestion.backfill() if wish.once else ingestion.run()
        finally:
            stop.set()
    say(_summary(ingestion.progress))


class _Show:
    """What happens, live on a terminal; elsewhere a line when the state changes, and now and then."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._live: Live | None = None
        self._state = ""
        self._said = 0.0

    def __enter__(self) -> _Show:
        if console.is_terminal:
            self._live = Live(console=console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Shows one state."""
        if self._live is not None:
            self._live.update(_table(self._wish, progress))
            return
        now = time.monotonic()
        if progress.state.split(" of ")[0] != self._state or now - self._said > _LINE_SECONDS:
            self._state, self._said = progress.state.split(" of ")[0], now
            say(f"{datetime.now(UTC):%H:%M:%S}  {progress.state}  {_counts(progress)}")


def _table(wish: Wish, progress: Progress) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_row(f"{wish.product} {wish.step}", f"{progress.state}{' (mock)' if wish.mock else ''}")
    table.add_row("last price", "–" if progress.price is None else f"{progress.price:f}")
    newest = "–" if progress.newest is None else f"{progress.newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    table.add_row("newest candle", newest)
    table.add_row("so far", _counts(progress))
    return table


def _counts(progress: Progress) -> str:
    left_out = sum(progress.garbage.values())
    parts = [
        f"{progress.trades} trades ({progress.repeated} repeated)",
        f"{progress.candles} candles from trades",
        f"{progress.backfilled} asked for in {progress.requests} requests",
    ]
    if left_out:
        parts.append(f"{left_out} left out as unusable")
    return ", ".join(parts)


def _summary(progress: Progress) -> str:
    text = f"Done: {_counts(progress)}."
    if progress.removed_mock:
        text += f" {progress.removed_mock} mock candles made room for real ones."
    return text
