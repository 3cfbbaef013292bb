"""Snapshots for training, put together from the seed figures without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from sigap.bundle import CodeEntry, DataEntry
from sigap.catalog import Declaration, declaration
from sigap.settings import ROOT
from sigap.training.export import Previous, write_bundle
from sigap.training.params import Params, read_params
from sigap.training.sweep import Trained, train

SEED = ROOT / "data" / "seed" / "education"


@pytest.fixture(scope="session")
def education() -> Declaration:
    return declaration("education")


@pytest.fixture(scope="session")
def params() -> Params:
    return read_params(ROOT, "education")


@pytest.fixture(scope="session")
def quick(params: Params) -> Params:
    """Parameters for tests that need no exact stability."""
    return params.model_copy(update={"n_init": 4, "bootstraps": 10})


def table_like(declared: Declaration, figures: pd.DataFrame) -> pd.DataFrame:
    """`figures` in the snapshot's columns and order; those it lacks are empty."""
    columns = [column.name for column in declared.columns] + list(declared.feature_names)
    return figures.reindex(columns=columns).sort_values(list(declared.source.key)).reset_index(drop=True)


@pytest.fixture(scope="session")
def figures(education: Declaration) -> pd.DataFrame:
    """All seed figures as the snapshot's query would return them."""
    provinces = pd.read_csv(SEED / "provinces.csv")[["provinsi_id", "ibukota", "lat", "lon"]]
    breaks = pd.read_csv(SEED / "breaks.csv").rename(columns={"keterangan_id": "break_id", "keterangan_en": "break_en"})
    table = pd.read_csv(SEED / "province_figures.csv").merge(provinces, how="left", on="provinsi_id")
    return table_like(education, table.merge(breaks, how="left", on=["provinsi_id", "tahun"]))


def made_up(declared: Declaration, features: pd.DataFrame, year: int = 2020) -> pd.DataFrame:
    """A snapshot of one year with these feature columns, one entity a row."""
    table = features.copy()
    table.insert(0, "provinsi_id", [f"P{1000 + i}" for i in range(len(features))])
    table.insert(1, "provinsi", [f"Wilayah {i}" for i in range(len(features))])
    table.insert(2, "tahun", year)
    return table_like(declared, table)


def save(table: pd.DataFrame, folder: Path) -> Path:
    path = folder / "education_snapshot.parquet"
    table.to_parquet(path, index=False)
    return path


@pytest.fixture(scope="session")
def until_2023(education, params, figures, tmp_path_factory) -> Trained:
    path = save(figures[figures["tahun"] <= 2023], tmp_path_factory.mktemp("until_2023"))
    return train(education, path, params)


@pytest.fixture(scope="session")
def with_2024(education, params, figures, tmp_path_factory) -> Trained:
    return train(education, save(figures, tmp_path_factory.mktemp("with_2024")), params)


def bundled(folder: Path, trained: Trained, version: str = "v1", previous: Previous | None = None):
    return write_bundle(
        folder,
        trained,
        data=DataEntry(
            version=version,
            md5="0" * 32,
            rows=trained.prepared.rows,
            rows_rejected=0,
            period=trained.prepared.period,
            git_commit="",
            query="SELECT …",
        ),
        code=CodeEntry(git_commit="", lock_sha256=""),
        previous=previous,
        trained_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
