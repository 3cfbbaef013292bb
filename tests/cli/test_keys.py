"""`./run key`: make, list and revoke."""

from __future__ import annotations

from sigap.keys import Keys
from sigap.settings import Settings
from tests.cli.conftest import Shell


def test_a_key_from_first_to_last(shell: Shell) -> None:
    assert "no API key yet" in shell.run("key", "list").stdout
    made = shell.run("key", "create", "ops", "--scope", "predict", "--scope", "admin")
    assert made.returncode == 0, made.stderr
    # Alone on standard output, for a script.
    key = made.stdout.strip()
    found = Keys(Settings(state_dir=shell.root / ".sigap", _env_file=None)).identify(key)
    assert found is not None
    assert (found.name, found.scopes) == ("ops", ("predict", "admin"))
    assert "not shown again" in made.stderr

    listed = shell.run("key", "list").stdout
    assert "ops" in listed
    assert "predict, admin" in listed
    assert key not in listed
    assert found.sha256[:8] not in listed

    again = shell.run("key", "create", "ops")
    assert (again.returncode, again.stdout) == (1, "")
    assert "./run key revoke ops" in again.stderr
    assert shell.run("key", "revoke", "ops").returncode == 0
    gone = shell.run("key", "revoke", "ops")
    assert gone.returncode == 1
    assert "./run key list" in gone.stderr
    wrong = shell.run("key", "create", "ops", "--scope", "root")
    assert (wrong.returncode, "'root'" in wrong.stderr) == (1, True)
