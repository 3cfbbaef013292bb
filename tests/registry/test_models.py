from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sigap.bundle import MANIFEST, TAG_BUNDLE_RUN, TAG_DATA_MD5, TAG_MANIFEST_SHA256, read_manifest
from sigap.errors import AliasMovedError, BundleError, ConfigurationError, RegistryError
from sigap.registry.models import Registry
from tests.registry.conftest import Workshop, free_port, make_settings, tiny_model

Python = Callable[[str], "subprocess.Popen[str]"]


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
    registry.promote(model, 1, None)
    assert registry.alias(model, "previous") is None
    registry.promote(model, 2, 1)
    registry.promote(model, 3, 2)
    assert numbers(workshop) == (3, 2)
    assert not any(each.withdrawn for each in registry.versions(model)[1:])

    assert registry.rollback(model).number == 2
    assert numbers(workshop) == (2, 3)
    assert registry.version(model, 3).withdrawn
    assert registry.rollback(model, to=1).number == 1
    assert registry.promote(model, 3, 1).number == 3
    assert not registry.version(model, 1).withdrawn


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


def test_of_two_promoters_at_once_one_wins(workshop: Workshop, python: Python) -> None:
    for name in ("one", "two", "three"):
        workshop.register(name)
    workshop.registry.promote(workshop.model, 1, None)
    code = (
        "from sigap.errors import AliasMovedError\nfrom sigap.registry.models import Registry\n"
        "try: Registry(settings).promote({model!r}, {number}, 1)\n"
        "except AliasMovedError: print('moved')\nelse: print('won')"
    )
    both = [python(code.format(model=workshop.model, number=number)) for number in (2, 3)]
    said = [process.communicate(timeout=60) for process in both]
    assert sorted(out.strip() for out, _ in said) == ["moved", "won"], said
    winner = 2 if said[0][0].strip() == "won" else 3
    assert numbers(workshop) == (winner, 1)


@pytest.mark.parametrize("cut_off_at", ["previous", "champion"])
def test_killed_while_promoting_the_old_champion_stays_and_the_next_call_mends(
    workshop: Workshop, python: Python, cut_off_at: str
) -> None:
    registry, model = workshop.registry, workshop.model
    for name in ("one", "two", "three"):
        workshop.register(name)
    registry.promote(model, 1, None)
    registry.promote(model, 2, 1)
    killed = python(
        "from sigap.registry.models import Registry\n"
        "registry = Registry(settings)\nmove = registry.client.set_registered_model_alias\n"
        "def cut_off(model, alias, number):\n"
        f"    if alias == {cut_off_at!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    move(model, alias, number)\n"
        "registry.client.set_registered_model_alias = cut_off\n"
        f"registry.promote({model!r}, 3, 2)"
    )
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, errors
    assert numbers(workshop) == ((2, 2) if cut_off_at == "champion" else (2, 1))

    served = registry.repair(model)
    assert served is not None
    assert served.number == 2
    assert not served.withdrawn or "replaced_by" not in served.tags
    assert numbers(workshop) == (2, 1)
    assert not registry.version(model, 3).withdrawn
    registry.promote(model, 3, 2)
    assert numbers(workshop) == (3, 2)


def test_killed_while_registering_there_is_no_version_and_the_next_one_is_whole(
    workshop: Workshop, python: Python
) -> None:
    bundle, run_id = workshop.bundle("one", "0" * 32), workshop.run("0" * 32)
    killed = python(
        "from sigap.registry.models import Registry\nfrom tests.registry.conftest import tiny_model\n"
        "registry = Registry(settings)\n"
        "registry.client.create_model_version = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"registry.register(Path({str(bundle)!r}), *tiny_model(), {run_id!r})"
    )
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, errors
    assert workshop.registry.versions(workshop.model) == []
    version, created = workshop.registry.register(bundle, *tiny_model(), run_id)
    assert created
    assert version.number == 1
    assert len(workshop.client.get_run(run_id).outputs.model_outputs) == 1


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
