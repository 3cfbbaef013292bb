"""What the repository's own documents say of it: commands, files, links, badges."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sigap.cli.coverage import LEAST_COVERED
from sigap.cli.main import app
from sigap.settings import ROOT

OURS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
DOCUMENTS = [
    *OURS,
    *(ROOT / "docs").glob("*.md"),
    ROOT / "deploy" / "server" / "README.md",
    ROOT / ".github" / "pull_request_template.md",
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def code(text: str) -> list[str]:
    """What stands as code: in blocks and in lines."""
    inline = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL), *re.findall(r"`([^`]+)`", inline)]


def words_of_run(text: str) -> set[tuple[str, ...]]:
    """The words behind each `./run` that are no option, argument or comment."""
    found = set()
    for part in code(text):
        for line in part.splitlines():
            if match := re.search(r"(?:^|\s|=)\./run((?: [a-z][a-z-]*)+)(?= |$)", line.partition(" #")[0]):
                found.add(tuple(match[1].split()))
    return found


@each_document
def test_every_word_of_run_is_one(document: Path) -> None:
    program: Any = typer.main.get_command(app)
    for words in words_of_run(document.read_text()):
        command = program.commands.get(words[0])
        assert command is not None, f"{document.name}: ./run {words[0]} is unknown"
        if hasattr(command, "commands"):
            assert len(words) > 1, f"{document.name}: ./run {words[0]} wants another word"
            assert words[1] in command.commands, f"{document.name}: ./run {words[0]} {words[1]} is unknown"


@each_document
def test_every_benchmark_exists(document: Path) -> None:
    for name in re.findall(r"\./run bench ([a-z_]+)", document.read_text()):
        place = ROOT / "benchmarks" / name
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), f"{document.name}: {name}"


def made_by_its_user(path: str) -> bool:
    """Whether Git would ignore it, as a file or as a folder: secrets, state."""
    command = ["git", "check-ignore", path, f"{path}/a"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=30, check=False).returncode == 0


@each_document
def test_every_path_of_the_tree_exists(document: Path) -> None:
    text = document.read_text()
    named = r"(?<![\w/.])((?:\.github|\.ci|scripts|tests|benchmarks|deploy|backend|frontend|sigap|docs)/[\w./-]*[\w-])"
    for part in code(text):
        for path in re.findall(named, part):
            if "boats" in path or made_by_its_user(path):  # the first: what ./run new-model would write
                continue
            assert (ROOT / path).exists(), f"{document.name}: {path} is not in the tree"


@each_document
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!<?https?:|mailto:|#|\.\./\.\./actions/)([^)\s#]+)", text):
        assert (document.parent / target).exists(), f"{document.name}: {target} is not there"


def test_a_badge_tells_the_truth() -> None:
    text = (ROOT / "README.md").read_text()
    for workflow in re.findall(r"actions/workflows/([\w.-]+)", text):
        assert (ROOT / ".github" / "workflows" / workflow).exists(), f"a badge of {workflow}, which is not there"
    for label, value in re.findall(r"/badge/([\w ]+)-([^-]+?)-\w+(?:\.svg)?\)", text):
        told = value.replace("%20", " ").replace("%7C", "|").replace("%25", "%").replace("%E2%89%A5", "≥")
        if label == "python":
            assert told.split(" | ") == ["3.11", "3.12", "3.13"]
        elif label == "licence":
            assert told == PROJECT["license"]
        elif label == "coverage":
            assert told == f"≥ {LEAST_COVERED:g} %"
        else:
            pytest.fail(f"nothing checks the badge {label}")
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


def test_the_licence_is_the_one_that_is_named() -> None:
    assert (ROOT / "LICENSE").read_text().startswith(f"{PROJECT['license']} License")
    assert f"[{PROJECT['license']}](LICENSE)" in (ROOT / "README.md").read_text()


def test_the_coverage_that_is_wanted_has_one_figure() -> None:
    wanted = f"{LEAST_COVERED:g} %"
    assert f"CI wants {wanted} of the lines and {wanted} of the branches" in (ROOT / "CONTRIBUTING.md").read_text()
    assert "./run test --coverage" in (ROOT / ".github/workflows/ci.yml").read_text()
    help_text = typer.main.get_command(app).commands["test"].help
    assert f"less than {wanted}" in help_text


def test_the_changelog_has_its_form_and_the_project_s_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", heading), heading
    if headings[1:]:
        assert headings[1].startswith(f"[{PROJECT['version']}]")
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_no_hook_and_no_check_lives_in_one_place_only() -> None:
    lint = (ROOT / "scripts" / "lint").read_text()
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for tool in ("ruff", "yamllint", "json_form.py", "mdformat", "mypy", "lint-imports", "zizmor", "scripts/lock"):
        assert tool in lint, tool
        assert tool in hooks, tool
    for options in ("--wrap=keep --number --compact-tables", "scripts/json_form.py"):
        assert options in lint
        assert options in hooks
    for types in ('mypy" sigap backend frontend mage_project benchmarks deploy', 'mypy" --strict'):
        assert types in lint
    assert "mypy sigap backend frontend mage_project benchmarks deploy" in hooks


JSON_CASES = {
    "well": ('{\n  "a": [\n    1\n  ]\n}\n', None),
    "twice": ('{"a": 1, "a": 2}', "twice: a"),
    "broken": ('{"a": ', "no JSON"),
    "close": ('{"a":1}', "not in the form"),
}


@pytest.mark.parametrize("case", JSON_CASES)
def test_the_form_of_json(case: str, tmp_path: Path) -> None:
    content, reason = JSON_CASES[case]
    file = tmp_path / "file.json"
    file.write_text(content)
    command = [sys.executable, str(ROOT / "scripts" / "json_form.py")]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, (reason or "") in done.stderr) == (int(reason is not None), True), done.stderr
    if reason == "not in the form":
        assert subprocess.run([*command, "--fix", str(file)], timeout=30, check=False).returncode == 0
        assert file.read_text() == '{\n  "a": 1\n}\n'
