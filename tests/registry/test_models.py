from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sigap.bundle import MANIFEST, TAG_BUNDLE_RUN, TAG_DATA_MD5, TAG_MANIFEST_SHA256, read_manifest
from sigap.errors import AliasMovedError, BundleError, ConfigurationError, RegistryError
from sigap.registry.models import Registry
from sigap.settings import Settings
from tests.registry.conftest import Process, Workshop, free_port, kill_me, make_settings, tiny_model

Start = Callable[..., Process]
MOVED = 3


def test_registers_with_signature_example_and_tags(workshop: Workshop) -> None:
    version = workshop.register("one")
    assert version.name == "v1"
    assert version.tags[TAG_DATA_MD5] == "0" * 32
    assert version.tags[TAG_BUNDLE_RUN] == version.run_id
    entry = workshop.client.get_model_version(workshop.model, "1")
    info = workshop.client.get_logged_model(entry.source.removeprefix("models:/"))
    assert info.status == "READY"
    described = (Path(workshop.client.download_artifacts(version.run_id, "bundle")) / MANIFEST).read_text()
    assert '"one"' in described


def test_the_same_model_from_the_same_data_is_the_same_version(workshop: Workshop) -> None:
    first = workshop.register("one")
    assert workshop.register("one").number == first.number
    assert workshop.register("one", "1" * 32).number == 2
    assert workshop.register("two").number == 3
    assert [each.number for each in workshop.registry.versions(workshop.model)] == [3, 2, 1]


def test_the_registered_pipeline_loads_again_and_answers_alike(workshop: Workshop) -> None:
    version = workshop.register("one")
    estimator, rows = tiny_model()
    loaded = workshop.registry.load(version)
    np.testing.assert_array_equal(loaded.predict(rows), estimator.predict(rows))


def test_promotes_keeps_the_way_back_and_rolls_back(workshop: Workshop) -> None:
    registry, model = workshop.registry, workshop.model
    for name in ("one", "two", "three"):
        workshop.register(name)
    assert registry.champion(model) is None
    registry.promote(model, 1, None, by_gate=True)
    assert registry.alias(model, "previous") is None
    registry.promote(model, 2, 1, by_gate=True)
    registry.promote(model, 3, 2, by_gate=True)
    assert numbers(workshop) == (3, 2)
    assert not any(each.withdrawn for each in registry.versions(model)[1:])

    assert registry.rollback(model).number == 2
    assert numbers(workshop) == (2, 3)
    assert registry.version(model, 3).withdrawn
    assert registry.rollback(model, to=1).number == 1
    assert registry.promote(model, 3, 1).number == 3
    assert registry.version(model, 1).withdrawn


def test_promoting_twice_changes_nothing(workshop: Workshop) -> None:
    registry, model = workshop.registry, workshop.model
    workshop.register("one"), workshop.register("two")
    registry.promote(model, 1, None)
    registry.promote(model, 2, 1)
    registry.promote(model, 2, 1)
    assert numbers(workshop) == (2, 1)


def test_an_alias_moved_by_a_person_is_not_overwritten(workshop: Workshop) -> None:
    registry, model = workshop.registry, workshop.model
    for name in ("one", "two", "three"):
        workshop.register(name)
    registry.promote(model, 1, None)
    workshop.client.set_registered_model_alias(model, "champion", "2")
    with pytest.raises(AliasMovedError, match="stands on v2, expected v1"):
        registry.promote(model, 3, 1)
    assert numbers(workshop)[0] == 2


def test_an_alias_deleted_by_a_person_is_noticed(workshop: Workshop) -> None:
    workshop.register("one"), workshop.register("two")
    workshop.registry.promote(workshop.model, 1, None)
    workshop.client.delete_registered_model_alias(workshop.model, "champion")
    with pytest.raises(AliasMovedError, match="stands on no version, expected v1"):
        workshop.registry.promote(workshop.model, 2, 1)


def test_of_two_promoters_at_once_one_wins(workshop: Workshop, in_process: Start) -> None:
    for name in ("one", "two", "three"):
        workshop.register(name)
    workshop.registry.promote(workshop.model, 1, None)
    won = workshop.folder / "won"
    both = [in_process(promote, workshop.settings, workshop.model, number, 1, won) for number in (2, 3)]
    for process in both:
        process.join(600)
    assert sorted(process.exitcode or 0 for process in both) == [0, MOVED]
    assert numbers(workshop) == (int(won.read_text()), 1)


def promote(settings: Settings, model: str, number: int, expected: int, won: Path) -> None:
    try:
        Registry(settings).promote(model, number, expected)
    except AliasMovedError:
        sys.exit(MOVED)
    won.write_text(str(number))


@pytest.mark.parametrize("cut_off_at", ["previous", "champion"])
def test_killed_while_promoting_the_old_champion_stays_and_the_next_call_mends(
    workshop: Workshop, in_process: Start, cut_off_at: str
) -> None:
    registry, model = workshop.registry, workshop.model
    for name in ("one", "two", "three"):
        workshop.register(name)
    registry.promote(model, 1, None)
    registry.promote(model, 2, 1)
    killed = in_process(promote_until, workshop.settings, model, 3, 2, cut_off_at)
    killed.join(600)
    assert killed.exitcode == -signal.SIGKILL
    assert numbers(workshop) == ((2, 2) if cut_off_at == "champion" else (2, 1))

    served = registry.repair(model)
    assert served is not None
    assert served.number == 2
    assert "replaced_by" not in served.tags
    assert numbers(workshop) == (2, 1)
    assert not registry.version(model, 3).withdrawn
    registry.promote(model, 3, 2)
    assert numbers(workshop) == (3, 2)


def test_killed_while_registering_there_is_no_version_and_the_next_one_is_whole(
    workshop: Workshop, in_process: Start
) -> None:
    bundle, run_id = workshop.bundle("one", "0" * 32), workshop.run("0" * 32)
    killed = in_process(register_until_created, workshop.settings, bundle, run_id)
    killed.join(600)
    assert killed.exitcode == -signal.SIGKILL
    assert workshop.registry.versions(workshop.model) == []
    version, created = workshop.registry.register(bundle, *tiny_model(), run_id)
    assert created
    assert version.number == 1
    assert len(workshop.client.get_run(run_id).outputs.model_outputs) == 1


def promote_until(settings: Settings, model: str, number: int, expected: int, alias: str) -> None:
    """Promotes, and is killed when it is about to move `alias`."""
    registry = Registry(settings)
    move = registry.client.set_registered_model_alias
    registry.client.set_registered_model_alias = lambda *wanted: kill_me() if wanted[1] == alias else move(*wanted)
    registry.promote(model, number, expected, by_gate=True)


def register_until_created(settings: Settings, bundle: Path, run_id: str) -> None:
    registry = Registry(settings)
    registry.client.create_model_version = kill_me
    registry.register(bundle, *tiny_model(), run_id)


def test_the_served_alias_is_a_setting(workshop: Workshop) -> None:
    settings = workshop.settings.model_copy(update={"served_alias": "production"})
    registry, model = Registry(settings), workshop.model
    workshop.register("one"), workshop.register("two")
    registry.promote(model, 1, None)
    registry.promote(model, 2, 1)
    served, previous = registry.alias(model, "production"), registry.alias(model, "previous")
    assert served is not None
    assert previous is not None
    assert (served.number, previous.number) == (2, 1)
    assert registry.alias(model, "champion") is None
    with pytest.raises(ConfigurationError, match="previous"):
        Registry(workshop.settings.model_copy(update={"served_alias": "previous"}))


def test_without_mlflow_the_error_says_where_and_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    registry = Registry(make_settings(tmp_path, f"http://user:hush@127.0.0.1:{port}"))
    with pytest.raises(RegistryError, match=rf"can't be reached at http://127.0.0.1:{port} while .*\./run") as caught:
        registry.champion("education")
    assert "hush" not in str(caught.value)


def test_what_does_not_exist_is_named(workshop: Workshop) -> None:
    registry, model = workshop.registry, workshop.model
    assert registry.versions(model) == []
    assert registry.repair(model) is None
    with pytest.raises(RegistryError, match="no version that was served before"):
        registry.rollback(model)
    workshop.register("one")
    with pytest.raises(RegistryError, match="has no version 7"):
        registry.promote(model, 7, None)


def test_a_version_without_bundle_is_not_promoted(workshop: Workshop) -> None:
    workshop.register("one")
    run_id = workshop.run("0" * 32)
    workshop.client.create_model_version(workshop.model, f"runs:/{run_id}/model", run_id)
    with pytest.raises(RegistryError, match="v2 has no bundle"):
        workshop.registry.promote(workshop.model, 2, None)


def test_fetches_the_bundle_and_refuses_an_altered_one(workshop: Workshop) -> None:
    version = workshop.register("one")
    assert read_manifest(workshop.registry.bundle(version)).fingerprint == "one"
    workshop.registry.annotate(version, TAG_MANIFEST_SHA256, "f" * 64)
    with pytest.raises(BundleError, match="not the one that was registered"):
        workshop.registry.bundle(workshop.registry.version(workshop.model, 1))


def numbers(workshop: Workshop) -> tuple[int | None, int | None]:
    """The versions that `champion` and `previous` stand on."""
    aliases = workshop.client.get_registered_model(workshop.model).aliases
    return int(aliases["champion"]), int(aliases["previous"]) if "previous" in aliases else None
