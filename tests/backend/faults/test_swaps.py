"""Promotions and rollbacks under load, with two workers: nothing fails and no answer is of two versions."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.backend.conftest import MODEL, MlflowServer, wait_for
from tests.backend.faults.conftest import Load, Workers, aliased

pytestmark = pytest.mark.load

ROUNDS = 50


def test_a_hundred_promotions_and_rollbacks_fail_no_request_and_mix_no_answer(
    registry: MlflowServer, start_workers: Callable[..., Workers], seeded_database: str
) -> None:
    aliased(registry, "swapped")
    api = start_workers(registry.uri, "swapped", DATABASE_URL=seeded_database)
    admin = {"authorization": f"Bearer {api.token()}"}
    done = 0
    # Not so dense that the registry has no processor left.
    with (
        Load(api.url, threads=2, pause=0.02) as load,
        httpx.Client(headers=admin, trust_env=False, timeout=120) as person,
    ):
        wait_for(lambda: load.answered > 20, "The load")
        for number in range(ROUNDS):
            registry.client.set_registered_model_alias(MODEL, "challenger", str(2 + number % 2))
            for act in ("update", "rollback"):
                answer = person.post(f"{api.url}/models/{MODEL}/{act}", json={})
                assert answer.status_code == 200, answer.text
                done += 1
        before = load.answered
        wait_for(lambda: api.serving() == {"v1"}, "Both workers' last champion")
        wait_for(lambda: load.answered > before, "The load's last answers")
    print(f"{load.answered} answers over {done} moves: {dict(load.versions)}")
    assert done == 2 * ROUNDS
    assert load.failed == {}
    assert load.mixed == []
    assert set(load.versions) == {"v1", "v2", "v3"}
