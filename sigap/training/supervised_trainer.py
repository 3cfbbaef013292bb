"""Regression and classification behind the protocol that all tasks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from sigap.bundle import Manifest, SupervisedManifest, read_manifest
from sigap.catalog import Declaration
from sigap.training import supervised, supervised_export, supervised_figures, supervised_report
from sigap.training.gate import Comparison
from sigap.training.recipes import TRUSTED_TYPES, Recipe, SupervisedParams, read_supervised_params
from sigap.training.rows import Rows, prepare_rows
from sigap.training.supervised import Served, SupervisedTrained
from sigap.training.trainer import BundleFacts, Candidate, Spec


class SupervisedTrainer:
    """How regressions and classifications are trained; see `sigap.training.trainer.Trainer`."""

    trusted_types: tuple[str, ...] = TRUSTED_TYPES

    def params(self, root: Path, model: str) -> SupervisedParams:
        """See `Trainer.params`."""
        return read_supervised_params(root, model)

    def parse_params(self, values: Mapping[str, Any]) -> SupervisedParams:
        """See `Trainer.parse_params`."""
        return SupervisedParams.model_validate(dict(values))

    def prepare(self, declaration: Declaration, table: pd.DataFrame) -> Rows:
        """See `Trainer.prepare`."""
        return prepare_rows(declaration, table)

    def summary(self, prepared: Rows) -> dict[str, Any]:
        """See `Trainer.summary`."""
        return {
            "rows": prepared.rows,
            "entities": len(prepared.keys),
            "period": None,
            "used": list(prepared.used),
            "left_out": [each.model_dump(mode="json") for each in prepared.left_out],
            "not_assessed": [],
            "without_target": prepared.without_target,
        }

    def preview(self, prepared: Rows) -> pd.DataFrame:
        """See `Trainer.preview`."""
        table = prepared.features.copy()
        table.insert(0, "key", prepared.keys)
        table["target"] = prepared.target
        return table

    def candidates(self, params: SupervisedParams) -> tuple[Spec, ...]:
        """See `Trainer.candidates`."""
        return tuple(Spec(name, recipe.model_dump()) for name, recipe in params.recipes().items())

    def fit(
        self,
        prepared: Rows,
        declaration: Declaration,
        params: SupervisedParams,
        name: str,
        told: Sequence[float] | None = None,  # noqa: ARG002 - nothing is shared out
    ) -> Candidate:
        """See `Trainer.fit`."""
        return supervised.fit(prepared, declaration, params, name)

    def parts(self, params: SupervisedParams, name: str) -> int:  # noqa: ARG002 - none has any
        """See `Trainer.parts`: a candidate is scored as a whole."""
        return 0

    def part(
        self, prepared: Rows, declaration: Declaration, params: SupervisedParams, name: str, at: int
    ) -> list[float]:
        """See `Trainer.part`."""
        raise NotImplementedError(name)

    def choose(
        self,
        declaration: Declaration,
        prepared: Rows,
        params: SupervisedParams,
        tried: Sequence[Candidate],
        previous: Path | None = None,  # noqa: ARG002 - only segments have numbers to keep
    ) -> SupervisedTrained:
        """See `Trainer.choose`."""
        return supervised.choose(declaration, prepared, params, tried)

    def figures(self, trained: SupervisedTrained, folder: Path) -> list[Path]:
        """See `Trainer.figures`."""
        return supervised_figures.draw(folder, trained)

    def fingerprint(self, trained: SupervisedTrained) -> str:
        """See `Trainer.fingerprint`."""
        return supervised_export.fingerprint(trained)

    def write_bundle(self, folder: Path, trained: SupervisedTrained, **facts: Unpack[BundleFacts]) -> Manifest:
        """See `Trainer.write_bundle`."""
        return supervised_export.write_bundle(folder, trained, facts)

    def check_rows(self, trained: SupervisedTrained, bundle: Path, tables: Iterable[pd.DataFrame]) -> int:
        """See `Trainer.check_rows`."""
        return supervised_export.check_tables(bundle, trained, tables)

    def report(self, trained: SupervisedTrained, folder: Path) -> Path:
        """See `Trainer.report`."""
        return supervised_report.write_report(folder, trained)

    def compare(
        self,
        declaration: Declaration,
        prepared: Rows,
        params: SupervisedParams,
        challenger: Path,
        champion: Path,
    ) -> Comparison | None:
        """See `Trainer.compare`. Both recipes are fitted anew within the same folds of the challenger's rows.

        The champion as it is served would be flattered: it has seen most of these rows while it was trained.
        """
        ours, theirs = (_served_recipe(read_manifest(each)) for each in (challenger, champion))
        if ours is None or theirs is None or not set(theirs[1]) <= set(prepared.table.columns):
            return None
        return supervised.compare_recipes(declaration, prepared, params, ours, theirs)


def _served_recipe(manifest: Manifest) -> Served | None:
    """The recipe that a bundle's model was made by, with its features; None where this version can't make it."""
    if not isinstance(manifest, SupervisedManifest):
        return None
    entry = next((each for each in manifest.sweep if each.name == manifest.winner), None)
    if entry is None:
        return None
    try:
        return Recipe.model_validate(entry.params), manifest.features_used
    except ValueError:
        return None
