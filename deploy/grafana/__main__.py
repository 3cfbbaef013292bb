"""`python -m deploy.grafana`: writes dashboards and alert rules beside this file, or only says what would change."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.alerting import alerting
from deploy.grafana.host import host
from deploy.grafana.models import models
from deploy.grafana.pipelines import pipelines
from deploy.grafana.service import service

HERE = Path(__file__).parent
_HEAD = "# Made by `python -m deploy.grafana` from deploy/prometheus/rules; see docs/monitoring.md.\n"


def files() -> Iterator[tuple[Path, str]]:
    """Every file that is made, and what it holds."""
    for made in (service(), models(), pipelines(), host()):
        name = str(made.uid).removeprefix("sigap-")
        text = json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        yield HERE / "dashboards" / f"{name}.json", f"{text}\n"
    rules = yaml.safe_dump(alerting(), sort_keys=False, width=120, allow_unicode=True)
    yield HERE / "provisioning" / "alerting" / "sigap.yml", _HEAD + rules


def main() -> int:
    """Writes the files, or checks them; the exit code."""
    options = argparse.ArgumentParser(prog="python -m deploy.grafana", description=__doc__)
    options.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a file is not as made")
    check = options.parse_args().check
    old = [path for path, text in files() if not path.exists() or path.read_text() != text]
    for path, text in files():
        if path in old and not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in old:
        sys.stdout.write(f"{'not as made' if check else 'written'}: {path.relative_to(HERE.parents[1])}\n")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
