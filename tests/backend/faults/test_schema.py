"""The whole OpenAPI document under schemathesis: every operation, every check, and the links between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.engine import events

from sigap.settings import Settings
from tests.backend.conftest import MlflowServer, free_port
from tests.backend.faults.conftest import Workers, aliased
from tests.backend.mage import mage_standin
from tests.conftest import Checkout

EXAMPLES = 8
# Ends the very token that the others ask with, so it comes last.
REVOKES = "/token/revoke"
ANSWERED = ["2XX", "401", "403", "404", "409", "429"]
# What the document can't say: that a series' candles follow each other, which fields and tensors the served version
# needs, and what stands in a file. Of a batch, each row is refused on its own.
BEYOND = {
    # Who sends wrong keys again and again is told to wait; that each is refused is tested in security/test_matrix.py.
    "^/metrics$": {"ignored_auth": {"enabled": False}},
    "/(predict|explain|infer)$": {"positive_data_acceptance": {"expected-statuses": [*ANSWERED, "413", "422"]}},
    # A shift is taken back from a table only, and a feature has to be a number that the served version uses.
    "/simulate-drift$": {"positive_data_acceptance": {"expected-statuses": [*ANSWERED, "422"]}},
    "-file$": {"positive_data_acceptance": {"expected-statuses": [*ANSWERED, "4XX"]}},
    "(predict-batch|batch-predict|outcomes)$": {"negative_data_rejection": {"expected-statuses": ["200", "4XX"]}},
}


def configuration(token: str, beyond: dict[str, Any]) -> schemathesis.Config:
    return schemathesis.Config.from_dict(
        {
            "seed": 4,
            "continue-on-failure": True,
            "request-timeout": 600,
            "headers": {"Authorization": f"Bearer {token}"},
            "generation": {"max-examples": EXAMPLES, "database": "none"},
            "phases": {"coverage": {"unexpected-methods": ["TRACE"]}, "stateful": {"enabled": bool(beyond)}},
            "checks": {"negative_data_rejection": {"expected-statuses": ["4XX"]}},
            "operations": [{"include-path-regex": path, "checks": checks} for path, checks in beyond.items()],
        }
    )


@pytest.fixture
def mage_port(tmp_path: Path) -> Iterator[str]:
    """Where a stand-in for Mage answers, so that no pipeline is really started; it has the workers' state folder."""
    settings = Settings(_env_file=None, state_dir=tmp_path / "state", mage_port=free_port())
    with mage_standin(settings):
        yield str(settings.mage_port)


def test_no_answer_breaks_the_document_and_none_is_a_server_error(
    registry: MlflowServer,
    start_workers: Callable[..., Workers],
    seeded_database: str,
    mage_port: str,
    checkout: Checkout,
) -> None:
    aliased(registry, "schema")
    api = start_workers(
        registry.uri,
        "schema",
        workers=1,
        DATABASE_URL=seeded_database,
        SIGAP_MAX_BATCH_ROWS="5",
        SIGAP_PROTECT="all",
        SIGAP_MAGE_PORT=mage_port,
        # A checkout of its own, whose data versions may be brought back.
        SIGAP_ROOT=str(checkout.root),
    )
    found: dict[tuple[str, str], str] = {}
    counted: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    document = f"{api.url}/openapi.json"
    # Once: what is tried on /token with wrong keys has whoever comes from this address wait.
    token = api.token()
    schema = schemathesis.openapi.from_url(document, config=configuration(token, BEYOND))
    look(schema.exclude(path=REVOKES), found, counted, statuses)
    # An operation that a configuration names is part of every selection, so this one names none; nothing leads there.
    schema = schemathesis.openapi.from_url(document, config=configuration(token, {}))
    look(schema.include(path=REVOKES), found, counted, statuses)
    print(dict(counted), dict(statuses))
    assert found == {}, "\n\n".join(f"{label} {check}: {said}" for (label, check), said in found.items())
    assert counted["stateful"] > 0, counted
    assert {status for status in statuses if status >= 500} == set(), statuses


def look(
    schema: schemathesis.BaseSchema, found: dict[tuple[str, str], str], counted: Counter[str], statuses: Counter[int]
) -> None:
    """Runs all phases and adds what they found."""
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            found[event.label, "error"] = event.info.format()
        elif isinstance(event, events.ScenarioFinished):
            counted[event.phase.value] += 1
            for interaction in event.recorder.interactions.values():
                statuses[interaction.response.status_code if interaction.response else 0] += 1
            for identity, checks in event.recorder.checks.items():
                case = event.recorder.cases[identity].value
                for check in checks:
                    counted["checks"] += 1
                    answer = event.recorder.interactions[identity].response
                    if check.failure_info is not None:
                        failure = check.failure_info.failure
                        told = answer.content[:600] if answer and answer.content else b""
                        said = f"{failure.title}: {failure.message}\n{told!r}\n{case.as_curl_command()[:600]}"
                        found.setdefault((case.operation.label, check.name), said)
