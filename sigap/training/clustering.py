"""Clusterings behind the protocol that all tasks share; the work is done by `clusters`, `sweep` and `export`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from sigap.bundle import ClusteringManifest, read_manifest, read_members
from sigap.catalog import Declaration
from sigap.errors import BundleError, TrainingError
from sigap.training import clusters, export, figures, segment_figures, sweep, tabular
from sigap.training.features import Prepared, prepare
from sigap.training.gate import Comparison, compare
from sigap.training.matching import served_labels
from sigap.training.movement import Previous
from sigap.training.params import Params, read_params
from sigap.training.preprocess import TRUSTED_TYPES
from sigap.training.trainer import BundleFacts, Candidate, Spec

# Bootstraps of a candidate that are one part of its scoring.
BOOTSTRAPS = 10


@dataclass(frozen=True)
class ClusteringTrained:
    """A finished clustering sweep, as `Trained` describes it.

    Attributes:
        sweep: The sweep itself, with levels, ranks and distances.
        tried: Its candidates.
        chosen: The winner.
    """

    sweep: sweep.Trained
    tried: tuple[Candidate, ...]
    chosen: Candidate

    @property
    def declaration(self) -> Declaration:
        """The model's declaration."""
        return self.sweep.declaration

    @property
    def prepared(self) -> Prepared:
        """The rows it was trained on."""
        return self.sweep.prepared

    @property
    def metrics(self) -> dict[str, float]:
        """The winner's scores."""
        return self.sweep.winner.metrics

    @property
    def caveat(self) -> None:
        """A clustering has no baseline to tie with."""

    @property
    def model(self) -> Any:
        """The pipeline; `predict` gives ranks."""
        return self.sweep.model

    @cached_property
    def sample(self) -> pd.DataFrame:
        """The assessed entities' used features."""
        return self.sweep.prepared.matrix


class ClusteringTrainer:
    """How clusterings are trained; see `sigap.training.trainer.Trainer`."""

    trusted_types: tuple[str, ...] = (*TRUSTED_TYPES, *tabular.TRUSTED_TYPES)

    def params(self, root: Path, model: str) -> Params:
        """See `Trainer.params`."""
        return read_params(root, model)

    def parse_params(self, values: Mapping[str, Any]) -> Params:
        """See `Trainer.parse_params`."""
        return Params.model_validate(dict(values))

    def prepare(self, declaration: Declaration, table: pd.DataFrame) -> Prepared:
        """See `Trainer.prepare`."""
        prepared = prepare(declaration, table)
        clusters.enough(prepared, declaration)
        return prepared

    def summary(self, prepared: Prepared) -> dict[str, Any]:
        """See `Trainer.summary`."""
        return {
            "rows": prepared.rows,
            "entities": len(prepared.matrix),
            "period": prepared.period,
            "used": list(prepared.used),
            "left_out": [each.model_dump(mode="json") for each in prepared.left_out],
            "not_assessed": [
                {
                    "entity": each.entity,
                    "name": prepared.name(each.entity),
                    "missing": list(each.missing),
                    "reason": each.reason.model_dump(),
                }
                for each in prepared.not_assessed
            ],
        }

    def preview(self, prepared: Prepared) -> pd.DataFrame:
        """See `Trainer.preview`."""
        table = prepared.matrix.reset_index(names="entity")
        if prepared.period is not None:
            table.insert(1, "period", prepared.period)
        if prepared.names:
            table.insert(1, "name", [prepared.name(str(entity)) for entity in table["entity"]])
        return table

    def candidates(self, params: Params) -> tuple[Spec, ...]:
        """One candidate a number of clusters, named `k2`, `k3`, and so on."""
        return tuple(Spec(f"k{k}", _logged(params, k)) for k in sweep.candidates(params))

    def fit(
        self,
        prepared: Prepared,
        declaration: Declaration,
        params: Params,
        name: str,
        told: Sequence[float] | None = None,
    ) -> Candidate:
        """See `Trainer.fit`."""
        return _shared(clusters.fit(prepared, declaration, params, _k(declaration, params, name), told), params)

    def parts(self, params: Params, name: str) -> int:  # noqa: ARG002 - each candidate has as many bootstraps
        """See `Trainer.parts`: bootstraps, some together, since each part has to cluster all rows once."""
        return -(-params.bootstraps // BOOTSTRAPS)

    def part(self, prepared: Prepared, declaration: Declaration, params: Params, name: str, at: int) -> list[float]:
        """See `Trainer.part`."""
        some = range(at * BOOTSTRAPS, min((at + 1) * BOOTSTRAPS, params.bootstraps))
        return clusters.agreements(prepared, declaration, params, _k(declaration, params, name), some)

    def choose(
        self,
        declaration: Declaration,
        prepared: Prepared,
        params: Params,
        tried: Sequence[Candidate],
        previous: Path | None = None,
    ) -> ClusteringTrained:
        """See `Trainer.choose`. A segment that the champion has already keeps its number."""
        chosen = sweep.choose(declaration, prepared, params, [_own(each) for each in tried], previous)
        fitted, logged = float(chosen.model[-1].inertia_), chosen.winner.metrics["inertia"]
        if abs(fitted - logged) > 1e-9 * max(1.0, abs(logged)):
            raise TrainingError(
                f"k = {chosen.winner.k} has inertia {fitted!r} here and {logged!r} where it was scored.",
                remedy="Score and register with the same locked environment; nothing was registered.",
            )
        return ClusteringTrained(
            sweep=chosen,
            tried=tuple(_shared(each, params).without_model() for each in chosen.candidates),
            chosen=_shared(chosen.winner, params),
        )

    def figures(self, trained: ClusteringTrained, folder: Path) -> list[Path]:
        """See `Trainer.figures`."""
        if trained.sweep.task.order == "size":
            return figures.draw(folder, trained.sweep, figures=segment_figures.FIGURES)
        return figures.draw(folder, trained.sweep)

    def fingerprint(self, trained: ClusteringTrained) -> str:
        """See `Trainer.fingerprint`."""
        return export.fingerprint(trained.sweep)

    def write_bundle(
        self, folder: Path, trained: ClusteringTrained, **facts: Unpack[BundleFacts]
    ) -> ClusteringManifest:
        """See `Trainer.write_bundle`."""
        runs = facts.get("candidate_runs") or {}
        return export.write_bundle(
            folder,
            trained.sweep,
            data=facts["data"],
            code=facts["code"],
            run_id=facts.get("run_id", ""),
            candidate_runs={int(name.removeprefix("k")): run for name, run in runs.items()},
            previous=_previous(facts.get("previous"), facts.get("previous_version", "")),
            trained_at=facts.get("trained_at"),
        )

    def check_rows(self, trained: ClusteringTrained, bundle: Path, tables: Iterable[pd.DataFrame]) -> int:
        """See `Trainer.check_rows`."""
        return export.check_tables(bundle, trained.sweep, tables)

    def report(self, trained: ClusteringTrained, folder: Path) -> Path:
        """See `Trainer.report`."""
        # Here, not above: the report's own entry point imports the trainers.
        from sigap.training.report import write_report

        return write_report(folder, trained.sweep)

    def compare(
        self, declaration: Declaration, prepared: Prepared, params: Params, challenger: Path, champion: Path
    ) -> Comparison | None:
        """See `Trainer.compare`; by silhouette, in the challenger's scaling."""
        features = list(read_manifest(champion).features_used)
        if not set(features) <= set(prepared.now.values.columns):
            return None
        theirs = prepared.now.values.loc[prepared.matrix.index]
        if not read_manifest(champion).inputs:
            theirs = theirs.dropna(subset=features)
        rows = prepared.matrix.loc[theirs.index]
        if rows.empty:
            return None
        manifest = read_manifest(challenger)
        if not isinstance(manifest, ClusteringManifest):
            raise BundleError(f"{declaration.name}: the challenger's bundle is of a {manifest.task}.")
        model = clusters.fit_model(prepared, declaration, params, len(manifest.levels))
        return compare(model[:-1].transform(rows), model.predict(rows), served_labels(champion, theirs))


def _k(declaration: Declaration, params: Params, name: str) -> int:
    k = next((k for k in sweep.candidates(params) if name == f"k{k}"), None)
    if k is None:
        raise TrainingError(f"{declaration.name} has no candidate {name!r}.", remedy="Plan the sweep again.")
    return k


def _logged(params: Params, k: int) -> dict[str, Any]:
    return {"n_clusters": k, **params.model_dump(include={"init", "n_init", "random_state", "bootstraps"})}


def _shared(candidate: clusters.Candidate, params: Params) -> Candidate:
    return Candidate(
        name=f"k{candidate.k}",
        params=_logged(params, candidate.k),
        metrics=candidate.metrics,
        reason=candidate.reason,
        details={"sizes": list(candidate.sizes)},
        model=candidate.model,
    )


def _own(candidate: Candidate) -> clusters.Candidate:
    return clusters.Candidate(
        k=int(candidate.name.removeprefix("k")),
        metrics=candidate.metrics,
        sizes=tuple(int(size) for size in candidate.details["sizes"]),
        reason=candidate.reason,
        model=candidate.model,
    )


def _previous(folder: Path | None, version: str) -> Previous | None:
    if folder is None:
        return None
    return Previous(version, read_manifest(folder).data.version, read_members(folder))
