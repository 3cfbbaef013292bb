"""PostgreSQL 18 with the manners of the official image, as far as docker-compose.yml uses them."""

import os
import subprocess
from pathlib import Path

DATA = Path("/var/lib/postgresql/18/docker")
SCRIPTS = Path("/docker-entrypoint-initdb.d")
UID = 70


def main() -> None:
    """Makes the database at the first start, then becomes the server."""
    DATA.mkdir(parents=True, exist_ok=True)
    os.chown(DATA, UID, UID)
    user, name = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
    account = {"user": UID, "group": UID, "extra_groups": [], "check": True}
    if not (DATA / "PG_VERSION").exists():
        password = Path("/tmp/password")
        password.write_text(os.environ["POSTGRES_PASSWORD"])
        password.chmod(0o644)
        words = ["-D", str(DATA), "-U", user, "--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8"]
        subprocess.run(["initdb", *words], **account)
        password.unlink()
        with (DATA / "pg_hba.conf").open("a") as file:
            file.write("host all all all scram-sha-256\n")
        scripts = "".join(path.read_text() for path in sorted(SCRIPTS.glob("*.sql")))
        statements = [line for line in scripts.splitlines() if line and not line.startswith("--")]
        for statement in [f"CREATE DATABASE {name};", *statements]:
            words = ["postgres", "--single", "-D", str(DATA), "postgres"]
            subprocess.run(words, input=f"{statement}\n".encode(), **account)
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    words = ["-D", str(DATA), "-c", "listen_addresses=*", "-c", "unix_socket_directories=/tmp"]
    os.execvp("postgres", ["postgres", *words])


if __name__ == "__main__":
    main()
