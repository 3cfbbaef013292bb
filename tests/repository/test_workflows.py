"""The workflows, offline: their form, what they may, and that what they call exists."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from sigap.settings import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
BIN = Path(sys.executable).parent


def load(path: Path) -> Any:
    # YAML 1.2, as GitHub reads it: `on` is a word there, not a truth value.
    return YAML(typ="safe").load(path)


def schema(name: str) -> Any:
    """A schema that check-jsonschema carries; its program does not start beside the click that Mage pins."""
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.submodule_search_locations
    return json.loads((Path(package.submodule_search_locations[0]) / f"builtin_schemas/vendor/{name}.json").read_text())


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{path.stem}-{name}") for path in WORKFLOWS for name, job in load(path)["jobs"].items()
    ]


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.name, step) for path in WORKFLOWS for job in load(path)["jobs"].values() for step in job.get("steps", ())
    ]


def test_there_is_a_workflow_for_each_duty() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"ci", "images", "deploy", "nightly"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *((path, "github-workflows") for path in WORKFLOWS),
        *((path, "github-issue-config" if path.stem == "config" else "github-issue-forms") for path in FORMS),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_github_s_own_schema_holds(path: Path, name: str) -> None:
    jsonschema.validators.validator_for(schema(name))(schema(name)).validate(load(path))


def test_zizmor_has_nothing_to_say() -> None:
    done = subprocess.run(
        [BIN / "zizmor", "--offline", "--quiet", "--no-progress", "--persona=pedantic", ROOT / ".github" / "workflows"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_by_commit_and_each_by_one() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in re.findall(r"^\s*-?\s*uses: (.*)$", path.read_text(), re.MULTILINE):
            found = re.fullmatch(r"([\w-]+/[\w/-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
            assert found, f"{path.name}: {line!r} is no action at a full commit hash with its version behind it"
            pins.setdefault(found[1], set()).add(f"{found[2]} {found[3]}")
    assert pins
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_nothing_is_permitted_that_is_not_named() -> None:
    for path in WORKFLOWS:
        assert load(path)["permissions"] == {}, path.name
        assert "concurrency" in load(path), path.name


@pytest.mark.parametrize("job", jobs())
def test_a_job_ends_by_itself_and_may_only_read(job: dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 120
    assert set(job["permissions"].values()) == {"read"}
    assert not re.search("latest", str(job["runs-on"])), "a runner that changes under us"


def test_no_checkout_keeps_its_credentials() -> None:
    checkouts = [(name, step) for name, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    for name, step in checkouts:
        assert step["with"]["persist-credentials"] is False, name


def test_a_command_gets_secrets_and_inputs_by_its_environment_only() -> None:
    for name, step in steps():
        assert "${{" not in step.get("run", ""), f"{name}: an expression becomes part of a shell's program"
        assert "secrets." not in str(step.get("with", "")), name
        assert "set -x" not in step.get("run", ""), name
    for path in WORKFLOWS:
        for job in load(path)["jobs"].values():
            assert "secrets." not in str(job.get("env", "")), f"{path.name}: a secret for every step of a job"


def words(command: str) -> list[str]:
    return re.findall(r"[^\s\"'`;|&()]+", command)


def test_what_a_workflow_runs_is_in_the_tree() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.splitlines()
    ours = {name.split("/")[0] for name in tracked}
    called = set()
    for workflow, step in steps():
        for word in words(step.get("run", "")):
            path = word.removeprefix("./")
            if "$" in path or path.split("/")[0] not in ours or ("/" not in path and not word.startswith("./")):
                continue
            assert (ROOT / path).exists(), f"{workflow}: {path} is not in the tree"
            called.add(path)
            if word == words(step["run"])[0]:
                assert os.access(ROOT / path, os.X_OK), f"{workflow}: {path} can't be run"
    assert {"run", "scripts/lint", "scripts/nightly", "scripts/push-image", "deploy/server/over_ssh.sh"} <= called


def test_every_image_has_its_dockerfile() -> None:
    images = load(ROOT / ".github/workflows/images.yml")["jobs"]["image"]["strategy"]["matrix"]["image"]
    written = {path.stem for path in (ROOT / "deploy" / "images").glob("*.Dockerfile")}
    if not written:
        pytest.skip("no Dockerfile in deploy/images yet")
    assert set(images) == written


@pytest.mark.parametrize(
    "bench", load(ROOT / ".github/workflows/nightly.yml")["jobs"]["bench"]["strategy"]["matrix"]["bench"]
)
def test_a_nightly_benchmark_exists_and_has_these_options(bench: str) -> None:
    name, *options = bench.split()
    place = ROOT / "benchmarks"
    source = place / f"{name}.py" if (place / f"{name}.py").exists() else place / name / "__main__.py"
    assert source.exists(), f"./run bench {name} is unknown"
    for option in options:
        if option.startswith("--"):
            assert f'"{option}"' in source.read_text(), f"./run bench {name} has no option {option}"


def run_script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / name, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A folder with a program `docker` that writes down how it is called, and what its standard input holds."""
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n'
        f'[ "$1" = login ] && {{ cat >{tmp_path}/stdin; echo "Login Succeeded"; }}\n'
        f'echo "$DOCKER_CONFIG" >{tmp_path}/config\n[ "$1" != push ] || grep -qv refuse {tmp_path}/stdin\n'
    )
    program.chmod(0o755)
    return tmp_path


def test_an_image_is_pushed_where_the_repository_says_and_the_password_stays_unseen(docker: Path) -> None:
    path = f"{docker}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "REGISTRY": "registry.example/team", "ACCOUNT": "robot", "PASSWORD": "hush"}
    done = run_script("push-image", "sigap-api:abc", "sigap-api", "v1.0.0", "abc", **given)
    assert done.returncode == 0, done.stderr
    calls = (docker / "calls").read_text().splitlines()
    assert calls[0] == "login --username robot --password-stdin registry.example"
    assert "push --quiet registry.example/team/sigap-api:v1.0.0" in calls
    assert "push --quiet registry.example/team/sigap-api:abc" in calls
    assert (docker / "stdin").read_text() == "hush"
    assert not Path((docker / "config").read_text().strip()).exists(), "the login outlived the command"
    assert "hush" not in done.stdout + done.stderr + "".join(calls)
    refused = run_script("push-image", "sigap-api:abc", "sigap-api", "v1", **given | {"PASSWORD": "refuse"})
    assert refused.returncode != 0
    assert "PASSWORD is not set" in run_script("push-image", "a", "b", "c", **given | {"PASSWORD": ""}).stderr


def test_a_nightly_run_ends_as_its_benchmark_does_and_tells_the_job(tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    (copy / "scripts").mkdir(parents=True)
    (copy / "scripts" / "nightly").write_bytes((ROOT / "scripts" / "nightly").read_bytes())
    (copy / "run").write_text('#!/bin/sh\necho "did $*"\n[ "$2" != fails ]\n')
    for program in (copy / "run", copy / "scripts" / "nightly"):
        program.chmod(0o755)
    summary = tmp_path / "summary"
    for name, code in (("well --runs 3", 0), ("fails", 1)):
        done = subprocess.run(
            [copy / "scripts" / "nightly", name],
            env=os.environ | {"GITHUB_STEP_SUMMARY": str(summary)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert (copy / ".sigap" / "benchmarks" / f"{name.split()[0]}.txt").read_text() == f"did bench {name}\n"
    assert "did bench well --runs 3" in summary.read_text()
    assert "did bench fails" in summary.read_text()
