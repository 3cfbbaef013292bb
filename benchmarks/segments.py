"""Customer segments on the public file: which clusterings are admissible and why, and what the segments are.

`./run bench segments FILE` reads automobile_customers.csv (by default from ../shared/data/customers), sweeps as the
pipeline does, and prints every candidate beside what shuffled columns reach, the segments, how often rows without any
groups yield a champion, and whether segments keep their numbers when the model is trained again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import adjusted_rand_score

from benchmarks import SHARED, machine
from sigap.bundle import CodeEntry, DataEntry, Trait
from sigap.catalog.customer_segments import CUSTOMER_SEGMENTS
from sigap.errors import TrainingError
from sigap.settings import ROOT
from sigap.training.clustering import ClusteringTrained, ClusteringTrainer
from sigap.training.params import Params
from sigap.training.profiles import structure, traits
from sigap.training.trainer import Candidate

FILE = SHARED / "customers" / "automobile_customers.csv"
GIVEN = "Segmentation"
# As the data's README has them, k = 2..6: scaled, one-hot, without what this pipeline does besides.
PUBLISHED = {2: 0.175, 3: 0.199, 4: 0.150, 5: 0.166, 6: 0.159}
# Sizes of tables without groups, and how many of each.
NOISE = {200: 40, 1000: 10}
RETRAINS = 5
TRAINER = ClusteringTrainer()


def read_customers(path: Path) -> pd.DataFrame:
    """The public file as the table `customers` has it, and the segments its publisher gives."""
    return pd.read_csv(path).rename(columns={"ID": "customer_id"})


def sweep(table: pd.DataFrame, params: Params) -> tuple[list[Candidate], float]:
    """All candidates, and the seconds they took on one core."""
    start = time.process_time()
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, table)
    names = [spec.name for spec in TRAINER.candidates(params)]
    tried = [TRAINER.fit(prepared, CUSTOMER_SEGMENTS, params, name) for name in names]
    return tried, time.process_time() - start


def train(table: pd.DataFrame, params: Params, champion: Path | None = None) -> ClusteringTrained:
    """The whole training; segments keep the numbers they have in the champion's bundle."""
    tried, _ = sweep(table, params)
    return TRAINER.choose(
        CUSTOMER_SEGMENTS, TRAINER.prepare(CUSTOMER_SEGMENTS, table), params, tried, previous=champion
    )


def bundled(folder: Path, trained: ClusteringTrained) -> Path:
    """The trained model's bundle in `folder`."""
    data = DataEntry(
        version="bench", md5="0" * 32, rows=trained.prepared.rows, rows_rejected=0, period=None, git_commit="", query=""
    )
    code = CodeEntry(git_commit="", lock_sha256="")
    TRAINER.write_bundle(folder, trained, data=data, code=code, trained_at=datetime(2025, 1, 1, tzinfo=UTC))
    return folder


def shuffled(table: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """As many rows whose columns have nothing to do with one another."""
    generator = np.random.default_rng([rows, seed])
    drawn = {name: table[name].to_numpy()[generator.permutation(len(table))[:rows]] for name in table.columns[1:]}
    return pd.DataFrame({"customer_id": np.arange(rows), **drawn})


def champions_of_noise(table: pd.DataFrame, params: Params, rows: int, trials: int) -> int:
    """How many of so many tables without groups have an admissible clustering."""
    return sum(any(each.admissible for each in sweep(shuffled(table, rows, seed), params)[0]) for seed in range(trials))


def numbers_kept(table: pd.DataFrame, trained: ClusteringTrained, params: Params, folder: Path) -> tuple[int, float]:
    """Of so many retrains on resampled customers, those that keep every number, and the least agreement met."""
    champion, kept, least = bundled(folder, trained), 0, 1.0
    for seed in range(RETRAINS):
        drawn = table.sample(frac=0.8, random_state=seed)
        try:
            again = train(drawn, params, champion)
        except TrainingError:
            continue
        matches = again.sweep.matches
        kept += all(each.former == each.cluster for each in matches)
        least = min(least, *(each.agreement for each in matches))
    return kept, least


def candidates_table(tried: list[Candidate]) -> Table:
    """Every candidate with its scores."""
    table = Table(title="Candidates")
    for heading in ("k", "silhouette", "data's README", "shuffled", "stability ± sd", "smallest", "admissible"):
        table.add_column(heading, justify="left" if heading == "admissible" else "right")
    for each in tried:
        k, metrics = int(each.params["n_clusters"]), each.metrics
        table.add_row(
            str(k),
            f"{metrics['silhouette']:.3f}",
            f"{PUBLISHED[k]:.3f}",
            f"{metrics['silhouette_shuffled']:.3f} ± {metrics['silhouette_shuffled_sd']:.3f}",
            f"{metrics['stability']:.3f} ± {metrics['stability_sd']:.3f}",
            f"{metrics['smallest_cluster']:.0f}",
            "no" if each.reason else "yes",
        )
    return table


def in_words(trait: Trait) -> str:
    """A trait as people say it."""
    feature = CUSTOMER_SEGMENTS.feature(trait.feature)
    if trait.category is None:
        return f"{feature.title.en} {trait.here:.1f} (all {trait.overall:.1f})"
    return f"{feature.title.en} {trait.category} {trait.here:.0%} (all {trait.overall:.0%})"


def main() -> None:
    """Trains, and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    file = parser.parse_args().file
    if not file.is_file():
        sys.exit(f"There is no {file}; name the public file automobile_customers.csv.")
    console, table = Console(), read_customers(file)
    params = TRAINER.params(ROOT, CUSTOMER_SEGMENTS.name)
    features = table.drop(columns=GIVEN)
    missing = int(features.isna().sum().sum())
    console.print(f"{len(table):,} customers, {missing:,} missing cells (imputed inside the model)")
    tried, seconds = sweep(features, params)
    console.print(candidates_table(tried))
    for each in tried:
        if each.reason:
            console.print(f"{each.name} may not become champion: {each.reason.en}.")
    console.print(f"The sweep took {seconds:.1f} s of one core.")
    prepared = TRAINER.prepare(CUSTOMER_SEGMENTS, features)
    trained = TRAINER.choose(CUSTOMER_SEGMENTS, prepared, params, tried)
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundled(Path(folder), trained)
        manifest_bytes = sum(path.stat().st_size for path in bundle.iterdir())
        segments(console, trained)
        found = structure(trained.sweep)
        console.print(f"{found['text']['en']} (mean silhouette {found['silhouette']:.3f}).")
        given = adjusted_rand_score(table.sort_values("customer_id")[GIVEN], trained.sweep.ranks)
        console.print(f"Adjusted Rand index with the publisher's segments A to D: {given:.2f} (they are other groups).")
        console.print(f"Bundle of {manifest_bytes:,} bytes; ONNX answers every customer as scikit-learn does.")
        kept, least = numbers_kept(features, trained, params, Path(folder))
    console.print(
        f"Trained again on 80 % of the customers: {kept} of {RETRAINS} keep every number, least Jaccard {least:.2f}."
    )
    for rows, trials in NOISE.items():
        wrong = champions_of_noise(features, params, rows, trials)
        console.print(f"Tables of {rows:,} rows without groups that yield a champion: {wrong} of {trials}.")
    console.print(f"{machine()}.")


def segments(console: Console, trained: ClusteringTrained) -> None:
    """Prints each segment with what distinguishes it."""
    shown = Table(title="Segments", show_lines=True)
    for heading in ("segment", "customers", "what distinguishes it, the greatest effect first"):
        shown.add_column(heading)
    for level in trained.sweep.levels:
        telling = "; ".join(in_words(each) for each in traits(trained.sweep, level.cluster))
        shown.add_row(level.label.en, f"{level.size:,} ({level.size / trained.prepared.rows:.0%})", telling)
    console.print(shown)


if __name__ == "__main__":
    main()
