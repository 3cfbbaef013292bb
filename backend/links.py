"""OpenAPI links: which answer leads to which further question, for client generators and for tests that follow them."""

from __future__ import annotations

from typing import Any

_BODY = "$response.body#"
_MODEL = "$request.path.model"


def _link(operation: str, description: str, **parameters: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": parameters, "description": description}


def add_links(schema: dict[str, Any]) -> None:
    """Adds links to the answers of an OpenAPI document; it is changed in place."""
    by_path = {path: item["get"]["operationId"] for path, item in schema["paths"].items() if "get" in item}
    origin = {
        "lineage": ("/models/{model}/lineage", "Where the version that answered comes from."),
        "card": ("/models/{model}/card", "The card of the version that answered."),
    }
    for path, item in schema["paths"].items():
        answer = item.get("post", {}).get("responses", {}).get("200")
        if answer is None or not path.endswith("/predict"):
            continue
        # Whatever the path, the answer names its model, its version and its request.
        answered = {"model": f"{_BODY}/model", "version": f"{_BODY}/model_version"}
        links = {name: _link(by_path[to], said, **answered) for name, (to, said) in origin.items() if to in by_path}
        if kept := by_path.get("/models/{model}/predictions/{request_id}"):
            links["kept"] = _link(
                kept, "What was kept of it.", model=f"{_BODY}/model", request_id="$response.header.x-request-id"
            )
        answer["links"] = links
    _between(schema, by_path)


def _between(schema: dict[str, Any], by_path: dict[str, str]) -> None:
    """Links among the questions about one model."""
    ways = {
        ("/models", "model", "/models/{model}"): {"model": f"{_BODY}/models/0/name"},
        ("/models/{model}", "clusters", "/models/{model}/clusters"): {"model": f"{_BODY}/name"},
        ("/models/{model}", "decisions", "/models/{model}/decisions"): {"model": f"{_BODY}/name"},
        ("/models/{model}", "served", "/models/{model}/lineage"): {"model": f"{_BODY}/name"},
        ("/models/{model}/lineage", "data", "/models/{model}/lineage/data/{data_version}"): {
            "model": _MODEL,
            "data_version": f"{_BODY}/data/version",
        },
    }
    for (path, name, to), parameters in ways.items():
        if path in by_path and to in by_path:
            answer = schema["paths"][path]["get"]["responses"]["200"]
            answer.setdefault("links", {})[name] = _link(by_path[to], "", **parameters)
