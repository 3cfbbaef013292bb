"""API keys: only their hashes are kept."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest

from sigap.errors import ConfigurationError
from sigap.keys import ApiKeyError, Keys, alert_credentials
from sigap.settings import Settings


def settings(folder: Path, **given: str) -> Settings:
    return Settings(state_dir=folder, _env_file=None, **given)


def test_the_file_holds_no_key_and_is_its_owners(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path))
    key = keys.create("ops", ["admin", "predict", "admin"])
    assert key.startswith("sigap_")
    assert len(key) > 40
    found = keys.identify(key)
    assert found is not None
    assert (found.name, found.scopes) == ("ops", ("predict", "admin"))
    file = tmp_path / "keys.json"
    assert file.stat().st_mode & 0o077 == 0
    for path in tmp_path.iterdir():
        assert key not in path.read_text()
        assert key[6:20] not in path.read_text()
    assert json.loads(file.read_text())["keys"][0]["sha256"] == found.sha256


def test_a_wrong_key_is_nobodys(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path))
    key = keys.create("ops", ["predict"])
    for wrong in ("", key[:-1], key + "x", key.upper(), "ops", keys.all[0].sha256, "\ud800", "ä"):
        assert keys.identify(wrong) is None


def test_every_key_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(settings(tmp_path))
    first = keys.create("first", ["predict"])
    keys.create("second", ["predict"])
    compared: list[int] = []
    real = hmac.compare_digest

    def watched(a: str, b: str) -> bool:
        compared.append(len(a))
        return real(a, b)

    monkeypatch.setattr("sigap.keys.hmac.compare_digest", watched)
    for key in (first, "wrong"):
        compared.clear()
        keys.identify(key)
        assert compared == [64, 64]


def test_a_revoked_key_is_gone_for_other_processes_too(tmp_path: Path) -> None:
    one, other = Keys(settings(tmp_path)), Keys(settings(tmp_path))
    key = one.create("ops", ["predict"])
    assert other.identify(key) is None
    assert other.refresh()
    assert other.identify(key) is not None
    one.revoke("ops")
    assert other.refresh()
    assert not other.refresh()
    assert other.identify(key) is None


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 41, "../a", "a\n", "@127.0.0.1"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ApiKeyError, match="name"):
        Keys(settings(tmp_path)).create(name, ["predict"])


@pytest.mark.parametrize("scopes", [[], ["read"], ["predict", "root"]])
def test_scopes_that_there_are_not_are_refused(tmp_path: Path, scopes: list[str]) -> None:
    with pytest.raises(ApiKeyError, match="predict"):
        Keys(settings(tmp_path)).create("ops", scopes)


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path, SIGAP_API_KEYS="given:predict:abcdefgh"))
    keys.create("ops", ["predict"])
    for name in ("ops", "given"):
        with pytest.raises(ApiKeyError, match="already"):
            keys.create(name, ["predict"])
    with pytest.raises(ApiKeyError, match="no key"):
        keys.revoke("nobody")
    with pytest.raises(ApiKeyError, match="SIGAP_API_KEYS"):
        keys.revoke("given")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [("default", ("predict",))]),
        ("a:plain", [("a", ("predict",))]),
        ("a:predict+admin:one, b:admin:two", [("a", ("predict", "admin")), ("b", ("admin",))]),
    ],
)
def test_keys_of_the_setting(tmp_path: Path, text: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    keys = Keys(settings(tmp_path, API_KEY=text))
    assert [(key.name, key.scopes) for key in keys.all] == expected
    assert keys.identify(text.split(",")[0].split(":")[-1]) is not None


@pytest.mark.parametrize(
    "text", ["a:root:hidden", "A:predict:hidden", "a:b:c:hidden", "a:predict:", "x:hidden,x:other"]
)
def test_a_setting_that_can_not_be_used_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="SIGAP_API_KEYS") as caught:
        Keys(settings(tmp_path, SIGAP_API_KEYS=text))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{", '{"keys": [1]}', '{"keys": [{"name": "a"}]}'])
def test_a_file_that_holds_something_else_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"keys\.json"):
        Keys(settings(tmp_path))


def test_the_key_for_alerts_is_made_up_once_and_a_running_api_gets_to_know_it(tmp_path: Path) -> None:
    keys = Keys(settings(tmp_path))
    assert keys.all == ()
    file = alert_credentials(settings(tmp_path))
    assert file.stat().st_mode & 0o077 == 0
    assert keys.refresh()
    found = keys.identify(file.read_text())
    assert found is not None
    assert (found.name, found.scopes) == ("alert_key", ("alerts",))
    assert alert_credentials(settings(tmp_path)).read_text() == file.read_text()


def test_a_key_for_alerts_that_is_given_takes_the_place_of_the_one_made_up(tmp_path: Path) -> None:
    made = alert_credentials(settings(tmp_path)).read_text()
    given = settings(tmp_path, alert_key="Zk3v9QpLx7RtW2mNc8BdYs5H")
    file = alert_credentials(given)
    assert file.read_text() == "Zk3v9QpLx7RtW2mNc8BdYs5H"
    assert file.stat().st_mode & 0o077 == 0
    assert Keys(given).identify(file.read_text()) is not None
    assert Keys(given).identify(made) is None


def test_in_production_no_key_for_alerts_is_made_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="alert_key"):
        alert_credentials(settings(tmp_path, environment="production"))
