"""A champion with its snapshot, PostgreSQL and MLflow, all real, and predictions to be checked against it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from sigap.catalog import Kind, declaration
from sigap.data.versions import DataVersions
from sigap.monitoring import report
from sigap.monitoring.checks import check
from sigap.monitoring.records import Check
from tests.registry.conftest import Line, line, mlflow_uri  # noqa: F401

PARAMS = """
education:
  k_min: 2
  k_max: 4
  n_init: 5
  bootstraps: 20
car_price:
  folds: 3
  repeats: 2
  inner_folds: 2
  candidates:
    ridge:
      estimator: ridge
      preprocessor: median_imputer_target_coded_with_scaler
      target_scale: log
      grid: { alpha: [10.0] }
drift:
  minimum_rows: 30
"""


class Watch:
    """A line whose model is watched."""

    def __init__(self, line: Line) -> None:  # noqa: F811
        self.line = line
        self.settings = line.settings

    def train(self, model: str) -> str:
        self.line.model = model
        result = self.line.run()
        assert result["champion"], result["reason"]
        return str(result["champion"])

    def log(self, model: str, fields: Iterable[Mapping[str, Any]], *, shadow: bool = False) -> None:
        with psycopg.connect(self.settings.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO predictions (at, model, model_version, request_id, shadow, fields, answer)"
                " VALUES (now(), %s, 'v1', 'r', %s, %s, '{}')",
                [(model, shadow, json.dumps(each)) for each in fields],
            )

    def check(self, model: str, subject: Any) -> Check:
        made = check(model, subject, settings=self.settings)
        assert made is not None
        return made

    def features(self, made: Check) -> dict[str, tuple[Any, ...]]:
        columns = "feature, test, effect, p_adjusted, drifted, bins"
        rows = self.ask(f"SELECT {columns} FROM drift_features WHERE check_id = %s ORDER BY feature", made.id)
        return {row[0]: row[1:] for row in rows}

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.dsn) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def inputs(self, model: str, rows: int, seed: int = 0, by: float = 1.0) -> list[dict[str, Any]]:
        """Inputs like the rows that the champion was trained on; numbers times `by`."""
        declared = declaration(model)
        table = pd.read_parquet(DataVersions(self.settings).path(model))
        published = [name for name in declared.feature_names if table[name].notna().mean() > 0.5]
        table = table.dropna(subset=published)
        drawn = table.iloc[np.random.default_rng(seed).integers(0, len(table), size=rows)]
        numbers = [each.name for each in declared.features if each.kind is not Kind.CATEGORY]
        drawn = drawn[list(declared.feature_names)].assign(**{name: drawn[name] * by for name in numbers})
        return list(json.loads(drawn.to_json(orient="records")))


@pytest.fixture
def watch(line: Line) -> Watch:  # noqa: F811
    (line.settings.root / "params.yaml").write_text(PARAMS)
    return Watch(line)


@pytest.fixture
def without_evidently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of two small files, kept on the run as real ones are: importing Evidently takes seconds a report."""

    def written(_: Path, made: Path) -> None:
        for name in (report.HTML, report.JSON):
            (made / name).write_text("<p>Drift</p>")

    monkeypatch.setattr(report, "_run_evidently", written)
