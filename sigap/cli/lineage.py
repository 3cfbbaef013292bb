"""`./run lineage`: from an answer's model version back to the query, and from a data version on to every model."""

from __future__ import annotations

import json
from typing import Any

from rich.tree import Tree

from sigap.catalog import declaration
from sigap.cli.output import console, say
from sigap.cli.versions import open_registry
from sigap.settings import Settings


def show_lineage(settings: Settings, name: str, version: int | None, data_version: str, *, as_json: bool) -> None:
    """Print the way back of a model version, or the way on of a data version."""
    declaration(name)
    open_registry(settings, name)
    from sigap.registry import lineage

    if data_version:
        found = lineage.of_data(settings, name, data_version).as_dict()
        tree = _onward(found)
    else:
        found = lineage.of_version(settings, name, version).as_dict()
        tree = _back(found)
    if as_json:
        say(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        console.print(tree)


def _back(found: dict[str, Any]) -> Tree:
    aliases = f" ({', '.join(found['aliases'])})" if found["aliases"] else ""
    tree = Tree(f"model version  {found['model']} {found['model_version']}{aliases}, {found['registered_at']}")
    decision, run, data, code = found["decision"], found["run"], found["data"], found["code"]
    if decision:
        tree.add(f"decision  {decision['rule']} by {decision['asked_by']}: {decision['reason']}")
    if run:
        branch = tree.add(f"run  {run['run_id']} ({run['name']}), {run['status']}, {run['started_at']}")
        for each in found["candidates"]:
            branch.add(f"candidate  {each['name']}  {each['run_id']}")
    else:
        tree.add("run  deleted in MLflow")
    branch = tree.add(f"data  {data['version']}  md5 {data['md5']}")
    branch.add(f"tag  {data['tag'] or 'none'}; " + ("can be restored" if data["can_be_restored"] else "not found here"))
    branch.add(f"commit  {data['git_commit'] or 'not committed'}")
    if data["rows"] is not None:
        branch.add(f"rows  {data['rows']:,}, and {data['rows_rejected']:,} set aside, from {data['source_table']}")
    branch.add(f"query  {' '.join(data['query'].split())}")
    tree.add(f"code  {code['git_commit'] or 'not committed'}, lock {code['lock_sha256'][:12] or 'none'}")
    return tree


def _onward(found: dict[str, Any]) -> Tree:
    data = found["data"]
    tree = Tree(f"data  {found['model']} {data['version']}  md5 {data['md5']}, tag {data['tag'] or 'none'}")
    branch = tree.add(f"model versions  {len(found['model_versions'])}")
    for each in found["model_versions"]:
        aliases = f" ({', '.join(each['aliases'])})" if each["aliases"] else ""
        branch.add(f"{each['model_version']}{aliases}  run {each['run_id']}")
    branch = tree.add(f"runs  {len(found['runs'])}")
    for each in found["runs"]:
        outcome = each["tags"].get("rule") or each["tags"].get("error", "")[:80]
        branch.add(f"{each['run_id']}  {each['status']}, {each['started_at']}  {outcome}".rstrip())
    return tree
