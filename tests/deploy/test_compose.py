"""The compose files: valid, whole, on loopback but for nginx, and without a usable default secret."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import AliasChoices

from sigap.settings import ROOT, Settings
from tests.deploy.test_images import FOLDER, dockerfile

COMPOSE = ROOT / "docker-compose.yml"
PRODUCTION = ROOT / "deploy" / "compose" / "production.yml"
OWN_STORE = PRODUCTION.with_name("own-store.yml")
OWN_DATABASE = PRODUCTION.with_name("own-database.yml")
EXAMPLE = ROOT / ".env.example"
# Variables of the programs themselves.
TOOLS = {
    "AWS_DEFAULT_REGION", "AWS_MAX_ATTEMPTS", "FORWARDED_ALLOW_IPS", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD",
    "MLFLOW_ARTIFACTS_DESTINATION", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_S3_ENDPOINT_URL", "POSTGRES_DB",
    "POSTGRES_PASSWORD", "POSTGRES_USER", "STREAMLIT_SERVER_BASE_URL_PATH",
    "SIGAP_TRUSTED_PROXIES",  # deploy/nginx/start.sh
}  # fmt: skip
ONCE = {"prepare", "buckets", "first-training", "keys"}
MONITORING = {"prometheus", "alertmanager", "grafana", "node-exporter", "cadvisor"}
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?P<how>:[-?])(?P<value>(?:[^{}]|\$\{[^{}]*\})*)\}")


class Loader(yaml.SafeLoader):
    """Knows compose's `!reset`: what is to be left out is None."""


Loader.add_constructor("!reset", lambda loader, node: None)


def services(path: Path = COMPOSE) -> dict[str, dict[str, Any]]:
    return dict(yaml.load(path.read_text(), Loader)["services"])


def laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As compose does it, for maps: None leaves out."""
    merged = dict(under)
    for name, value in over.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(under.get(name), dict):
            merged[name] = laid_over(under[name], value)
        else:
            merged[name] = value
    return merged


def settings_names() -> set[str]:
    found = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        found |= set(map(str, alias.choices)) if isinstance(alias, AliasChoices) else {f"SIGAP_{name.upper()}"}
    return found


def given(service: dict[str, Any] | None) -> dict[str, str]:
    return dict((service or {}).get("environment", {}))


def variables(text: str) -> Iterator[tuple[str, str, str]]:
    """Name, `:-` or `:?`, and default of every variable that a text asks for, also inside of defaults."""
    for found in _VARIABLE.finditer(text):
        yield found["name"], found["how"], found["value"]
        yield from variables(found["value"])


@pytest.mark.parametrize("path", [COMPOSE, PRODUCTION], ids=lambda path: path.name)
def test_it_is_a_compose_file(path: Path) -> None:
    # Not by its program, which the click that Mage and Streamlit hold back can't start.
    (package,) = importlib.util.find_spec("check_jsonschema").submodule_search_locations
    schema = Path(package) / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(schema.read_text()))


def test_every_service_of_the_issue_is_there() -> None:
    wanted = {"postgres", "minio", "mlflow", "mage", "watcher", "api-1", "api-2", "nginx", "dashboard"}
    assert set(services()) == wanted | MONITORING | ONCE
    profiles = {name: service.get("profiles", []) for name, service in services().items()}
    assert {name for name, of in profiles.items() if of == ["monitoring"]} == MONITORING
    assert {name for name, of in profiles.items() if of == []} == wanted | ONCE - {"keys"}
    assert set(services(PRODUCTION)) <= set(services())


def test_what_is_built_mounted_and_run_exists() -> None:
    for name, service in services().items():
        if "build" in service:
            path = ROOT / service["build"]["dockerfile"]
            assert path.parent == FOLDER, name
            assert path.is_file(), name
            assert service["image"].startswith(f"sigap-{path.name.partition('.')[0]}:"), name
        else:
            # A name without a registry's, and one version.
            assert re.fullmatch(r"(\$\{CADVISOR_IMAGE:-)?[a-z]+(/[a-z-]+)?:[A-Za-z0-9.-]+\}?", service["image"]), name
            assert not service["image"].endswith(":latest"), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source}"
            elif not source.startswith("/"):
                assert source in yaml.safe_load(COMPOSE.read_text())["volumes"], f"{name}: {source}"
        words = [*service.get("entrypoint", []), *service.get("command", [])]
        for before, word in pairwise(words):
            if before == "-m":
                assert importlib.util.find_spec(word) is not None, f"{name}: {word}"
    for image in ("api", "mage", "mlflow"):
        for module in re.findall(r'"-m", "([a-z_.]+)"', dockerfile(image)):
            assert importlib.util.find_spec(module) is not None, f"{image}: {module}"


def test_words_of_the_command_line_exist() -> None:
    from sigap.cli.main import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups}
    used = [[*service.get("entrypoint", []), *service.get("command", [])] for service in services().values()]
    words = [parts[parts.index("sigap") + 1] for parts in used if "sigap" in parts]
    assert set(words) == {"prepare", "first-training", "key"}
    assert set(words) <= known


@pytest.mark.parametrize(
    ("paths", "gone", "names"),
    [
        ([OWN_STORE], ["minio", "buckets"], r"//minio|sigap-data|sigap-mlflow/"),
        ([OWN_DATABASE], ["postgres"], r"@postgres"),
        ([OWN_STORE, OWN_DATABASE], ["minio", "buckets", "postgres"], r"//minio|sigap-data|sigap-mlflow/|@postgres"),
    ],
    ids=["store", "database", "both"],
)
def test_with_a_store_or_a_database_of_ones_own_nothing_names_ours(
    paths: list[Path], gone: list[str], names: str
) -> None:
    everyone = laid_over(services(), services(PRODUCTION))
    for path in paths:
        assert set(services(path)) <= set(services())
        for asked, how, _ in variables(path.read_text()):
            assert how == ":?" or asked == "S3_ENDPOINT_URL", asked
        everyone = laid_over(everyone, services(path))
    assert set(services()) - set(everyone) == set(gone)
    for name, service in everyone.items():
        assert not set(gone) & set(service.get("depends_on", {})), name
        if name == "buckets":  # it opens no database
            continue
        for variable, value in given(service).items():
            assert not re.search(names, str(value)), f"{name}: {variable}"


@pytest.mark.parametrize("path", [COMPOSE, PRODUCTION, OWN_STORE, OWN_DATABASE], ids=lambda path: path.name)
def test_every_variable_is_known_to_the_settings_or_to_the_program(path: Path) -> None:
    known = settings_names() | TOOLS
    for name, service in services(path).items():
        for variable in given(service):
            assert variable in known or (name == "grafana" and variable.startswith("GF_")), f"{name}: {variable}"


def test_whatever_is_asked_of_the_environment_has_a_default_or_stands_in_the_example() -> None:
    told = set(re.findall(r"(?m)^#?([A-Z0-9_]+)=", EXAMPLE.read_text()))
    for name, how, _ in variables(PRODUCTION.read_text()):
        assert how == ":?", name
        assert name in told, name
    assert all(how == ":-" for _, how, _ in variables(COMPOSE.read_text()))
    files = (COMPOSE, PRODUCTION, OWN_STORE, OWN_DATABASE)
    asked = {name for path in files for name, _, _ in variables(path.read_text())}
    assert told - {"COMPOSE_PROFILES", "COMPOSE_FILE"} <= asked
    assert asked - told == {"SIGAP_ENVIRONMENT", "SIGAP_API_KEYS"}, "production.yml sets them"


def test_the_example_holds_no_secret() -> None:
    secret = r"(?m)^([A-Z0-9_]*(?:PASSWORD|KEY|SECRET|JWT|KEY_ID))=(.*)$"
    found = dict(re.findall(secret, EXAMPLE.read_text()))
    assert len(found) >= 9
    assert set(found.values()) == {""}


def test_secrets_are_empty_or_plainly_for_the_demonstration() -> None:
    for name, _, default in variables(COMPOSE.read_text()):
        if re.search(r"PASSWORD|SECRET|KEY|JWT", name):
            assert default == "" or "demonstration" in default, name


def test_production_lets_no_default_secret_through() -> None:
    production = services(PRODUCTION)
    for name, service in services().items():
        for variable, value in given(service).items():
            if "demonstration" in str(value):
                over = given(production[name]).get(variable, "")
                assert ":?" in over, f"{name}: {variable}"
                assert "demonstration" not in over
        if given(service).get("SIGAP_ENVIRONMENT"):
            over = given(production[name])
            assert over["SIGAP_ENVIRONMENT"] == "production", name
            # Every secret that the demonstration makes up.
            for secret in ("SECRET_KEY", "SIGAP_ALERT_KEY", "SIGAP_MAGE_PASSWORD", "SIGAP_MAGE_JWT", "SIGAP_API_KEYS"):
                assert secret not in given(service) or ":?" in over[secret], f"{name}: {secret}"


def test_only_nginx_listens_beyond_this_machine() -> None:
    for name, service in services().items():
        assert "network_mode" not in service, name
        for port in service.get("ports", []):
            assert name == "nginx" or port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_ours_run_with_as_little_as_they_need() -> None:
    for name, service in services().items():
        if "build" not in service and name != "nginx":
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(each.startswith("/tmp") for each in service["tmpfs"]), name


def test_everything_that_stays_is_checked_limited_and_started_again() -> None:
    for name, service in services().items():
        if name in ONCE:
            assert service["restart"] == ("on-failure:5" if name in ("prepare", "buckets") else "no"), name
            assert service["healthcheck"] == {"disable": True}, name
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        assert {"cpus", "memory"} == set(service["deploy"]["resources"]["limits"]), name
        # Docker refuses more processors than the machine has; the demonstration shall start on any.
        cpus = service["deploy"]["resources"]["limits"]["cpus"]
        assert cpus == "${SIGAP_MAGE_CPUS:-2}" if name == "mage" else float(cpus) <= 1, name
        # The watcher has no port; what ends is started again.
        if name != "watcher":
            assert "healthcheck" in service or "HEALTHCHECK" in dockerfile(name.partition("-")[0]), name


def test_who_waits_waits_for_something_that_can_become_so() -> None:
    everyone = services()
    for name, service in everyone.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how == {"condition": wanted}, f"{name}: {other}"
            assert everyone[other].get("profiles", []) in ([], service.get("profiles", [])), f"{name}: {other}"


def test_nginx_finds_each_process_at_its_fixed_address() -> None:
    everyone = services()
    told = dict(line.split(":", 1) for line in everyone["nginx"]["extra_hosts"])
    for name, address in told.items():
        assert everyone[name]["networks"]["sigap"]["ipv4_address"] == address, name
    upstreams = (ROOT / "deploy" / "nginx" / "upstreams.conf").read_text()
    assert set(re.findall(r"server ([a-z0-9-]+):", upstreams)) == set(told)
    for name in ("api-1", "api-2"):
        believed = given(everyone[name])["FORWARDED_ALLOW_IPS"]
        assert believed == everyone["nginx"]["networks"]["sigap"]["ipv4_address"]
        assert everyone[name]["networks"]["sigap"]["aliases"] == ["api"], "Alertmanager's and Mage's name for both"


def test_prometheus_is_told_of_every_service_by_its_name() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = [
        each for job in config["scrape_configs"] for static in job["static_configs"] for each in static["targets"]
    ]
    assert {target.partition(":")[0] for target in targets} <= set(services())
    assert {"api-1:8000", "api-2:8000"} <= set(targets)
