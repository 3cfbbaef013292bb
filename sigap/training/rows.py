"""From the snapshot's rows to what a supervised model learns from: usable features, a clean target, no leak."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from sigap.bundle import Bilingual, LeftOut, Range
from sigap.catalog import Declaration, Kind
from sigap.catalog.declaration import Classification, Regression, Target
from sigap.errors import TrainingError
from sigap.training.tabular import canonical

# A feature that is missing in more of the rows than this is left out: its typical value would be most of it.
PUBLISHED_SHARE = 0.5
# Fewer rows with a value prove nothing about a leak.
LEAK_ROWS = 20
ALMOST_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Rows:
    """A snapshot made ready for supervised training.

    Attributes:
        rows: Rows of the snapshot.
        without_target: Rows set aside because their target is missing.
        keys: Key of each row trained on, its parts joined by a slash.
        table: All declared features of the rows trained on, categories in their declared spelling.
        target: Target of each row, shape (n,), float64: the number, or 1 for yes and 0 for no.
        used: Features the model is trained on, in the declaration's order.
        left_out: The other features, each with its reason.
        remembered: Held-out predictions of this process, so that choosing need not fit again what was just scored.
    """

    rows: int
    without_target: int
    keys: tuple[str, ...]
    table: pd.DataFrame
    target: NDArray[np.float64]
    used: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    remembered: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def features(self) -> pd.DataFrame:
        """The used features, shape (n, n_used)."""
        return self.table[list(self.used)]

    def ranges(self, declaration: Declaration) -> dict[str, Range]:
        """Smallest and largest training value of each used number."""
        numbers = [name for name in self.used if declaration.feature(name).kind is not Kind.CATEGORY]
        return {
            name: Range(minimum=float(self.table[name].min()), maximum=float(self.table[name].max()))
            for name in numbers
        }


def prepare_rows(declaration: Declaration, table: pd.DataFrame) -> Rows:
    """Makes a snapshot ready for supervised training. The order of its rows does not matter.

    Rows without target are set aside; a feature that is mostly missing, constant, or a copy of another is left out.

    Raises:
        TrainingError: A column is missing, a key stands twice, a value is infinite, the target is missing everywhere,
            has one class only or an undeclared one, a feature gives the target away, there are too few rows, or no
            feature is left.
    """
    target = _target(declaration)
    table = _checked(declaration, table, target).sort_values(list(declaration.source.key), kind="stable")
    values = _target_values(declaration, table[target.name], target)
    known = ~np.isnan(values)
    if not known.any():
        raise TrainingError(
            f"{declaration.name}: the target {target.name} is missing in all {len(table)} rows.",
            remedy=f"Fill it in {declaration.source.table}, then snapshot again.",
        )
    kept = table[known].reset_index(drop=True)
    _enough(declaration, values[known], int((~known).sum()))
    features = typed(declaration, kept)
    _refuse_leaks(declaration, features, values[known], target)
    used, left_out = _choose(declaration, features)
    if not used:
        reasons = "; ".join(f"{entry.name}: {entry.reason.en}" for entry in left_out)
        raise TrainingError(
            f"{declaration.name}: no feature can be used ({reasons}).",
            remedy=f"Fill at least one in {declaration.source.table}.",
        )
    keys = kept[list(declaration.source.key)].astype(str).agg("/".join, axis=1)
    return Rows(
        rows=len(table),
        without_target=int((~known).sum()),
        keys=tuple(keys),
        table=features,
        target=values[known],
        used=used,
        left_out=left_out,
    )


def _target(declaration: Declaration) -> Target:
    if declaration.target is None:
        raise TypeError(f"{declaration.name} has no target")
    return declaration.target


def _checked(declaration: Declaration, table: pd.DataFrame, target: Target) -> pd.DataFrame:
    key = list(declaration.source.key)
    expected = [*key, *declaration.feature_names, target.name]
    if missing := [name for name in expected if name not in table.columns]:
        raise TrainingError(
            f"{declaration.name}: the snapshot lacks the columns {', '.join(missing)}.",
            remedy="Take a new snapshot; this one was made for another declaration.",
        )
    twice = table[table.duplicated(key)]
    if len(twice):
        first = ", ".join(str(twice[name].iloc[0]) for name in key)
        raise TrainingError(
            f"{declaration.name}: the snapshot has {len(twice)} rows whose key stands twice, first ({first}).",
            remedy=f"Keep one row for each {' and '.join(key)} in {declaration.source.table}, then snapshot again.",
        )
    return table


def _target_values(declaration: Declaration, column: pd.Series[Any], target: Target) -> NDArray[np.float64]:
    """The target as numbers, NaN where missing."""
    if isinstance(declaration.task, Classification):
        return _classes(declaration, column, target, declaration.task.positive)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise TrainingError(
            f"{declaration.name}: the target {target.name} is infinite in {int(np.isinf(values).sum())} rows.",
            remedy=f"Correct them in {declaration.source.table}, then snapshot again.",
        )
    return values


def _classes(declaration: Declaration, column: pd.Series[Any], target: Target, positive: str) -> NDArray[np.float64]:
    known = column.dropna()
    # As text, whatever the column's type: 1, 1.0 and "1" are one class.
    words = {value: f"{value:g}" if isinstance(value, int | float | np.number) else str(value) for value in set(known)}
    declared = set(target.categories) or {"0", "1"}
    if strange := sorted({word for word in words.values() if word not in declared}):
        raise TrainingError(
            f"{declaration.name}: the target {target.name} has the values {', '.join(strange[:5])}, expected "
            f"{', '.join(sorted(declared))}.",
            remedy=f"Correct them in {declaration.source.table}, then snapshot again.",
        )
    found = sorted(set(words.values()))
    if len(found) == 1:
        raise TrainingError(
            f"{declaration.name}: every row has {target.name} = {found[0]}; with one class there is nothing to learn.",
            remedy=f"Add rows of the other class to {declaration.source.table}.",
        )
    yes = column.map({value: float(word == positive) for value, word in words.items()})
    return yes.to_numpy(dtype=np.float64, na_value=np.nan)


def _enough(declaration: Declaration, values: NDArray[np.float64], without: int) -> None:
    task = declaration.task
    needed = task.minimum_rows if isinstance(task, Regression | Classification) else 1
    if len(values) < needed:
        lacking = f" ({without} more lack it)" if without else ""
        raise TrainingError(
            f"{declaration.name}: {len(values)} rows have a target{lacking}, at least {needed} are needed.",
            remedy=f"Add rows to {declaration.source.table}, then run the pipeline again.",
        )
    if isinstance(task, Classification):
        rarer = int(min(values.sum(), len(values) - values.sum()))
        if rarer < max(10, math.ceil(0.005 * len(values))):
            raise TrainingError(
                f"{declaration.name}: the rarer class has {rarer} of {len(values)} rows, too few to learn or to judge.",
                remedy=f"Add rows of that class to {declaration.source.table}.",
            )
    elif np.ptp(values) == 0:
        raise TrainingError(
            f"{declaration.name}: the target is {values[0]:g} in every row; there is nothing to learn.",
            remedy=f"Check {declaration.source.table}.",
        )


def typed(declaration: Declaration, table: pd.DataFrame) -> pd.DataFrame:
    """The features alone: numbers as float64 and finite, categories as text in their declared spelling.

    Raises:
        TrainingError: A value is infinite.
    """
    features = canonical(declaration, table[list(declaration.feature_names)])
    for feature in declaration.features:
        if feature.kind is Kind.CATEGORY:
            continue
        numbers = features[feature.name].astype("float64")
        if np.isinf(numbers).any():
            raise TrainingError(
                f"{declaration.name}: {feature.name} is infinite in {int(np.isinf(numbers).sum())} rows.",
                remedy=f"Correct them in {declaration.source.table}, then snapshot again.",
            )
        features[feature.name] = numbers
    return features


def _refuse_leaks(
    declaration: Declaration, features: pd.DataFrame, values: NDArray[np.float64], target: Target
) -> None:
    for name in features:
        if _gives_away(features[name], values):
            raise TrainingError(
                f"{declaration.name}: the feature {name} gives the target {target.name} away: each follows from the "
                "other without exception. A model that reads it would look perfect and know nothing.",
                remedy=f"Take {name} out of the declaration, or correct how it is filled in "
                f"{declaration.source.table}.",
            )


def _gives_away(column: pd.Series[Any], values: NDArray[np.float64]) -> bool:
    """Whether column and target determine each other: the same order of rows, or a class for each category."""
    known = column.notna().to_numpy()
    if known.sum() < LEAK_ROWS:
        return False
    column, values = column[known], values[known]
    if column.nunique() < 2 or len(np.unique(values)) < 2:
        return False
    if column.dtype.kind == "f":
        # By rank, so that a target in another currency, rounded to nothing, or as a logarithm is found too.
        return bool(abs(np.corrcoef(rankdata(column), rankdata(values))[0, 1]) > ALMOST_ONE)
    pairs = pd.DataFrame({"category": column.to_numpy(), "target": values}).drop_duplicates()
    return len(pairs) == pairs["category"].nunique() == pairs["target"].nunique()


def _choose(declaration: Declaration, features: pd.DataFrame) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    shares = features.notna().mean()
    reasons: dict[str, Bilingual] = {}
    used: list[str] = []
    for name in declaration.feature_names:
        column = features[name]
        if shares[name] < PUBLISHED_SHARE:
            shown = math.floor(shares[name] * 100)
            reasons[name] = Bilingual(
                id=f"hanya terisi di {shown}% baris, perlu {PUBLISHED_SHARE:.0%}",
                en=f"filled in only {shown}% of the rows, {PUBLISHED_SHARE:.0%} needed",
            )
        elif column.nunique() < 2:
            reasons[name] = Bilingual(id="bernilai sama di mana-mana", en="it is the same everywhere")
        elif twin := next((other for other in used if _same(column, features[other])), None):
            title = declaration.feature(twin).title
            reasons[name] = Bilingual(id=f"sama dengan {title.id}", en=f"it says the same as {title.en}")
        else:
            used.append(name)
    left_out = tuple(
        LeftOut(name=name, reason=reasons[name], published_share=float(shares[name]))
        for name in declaration.feature_names
        if name in reasons
    )
    return tuple(used), left_out


def _same(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    """Whether two columns hold the same, but for a number's unit or a category's words."""
    if (one.isna() != other.isna()).any() or one.dtype.kind != other.dtype.kind:
        return False
    one, other = one.dropna(), other.dropna()
    if one.dtype.kind == "f":
        return bool(abs(np.corrcoef(one, other)[0, 1]) > ALMOST_ONE)
    pairs = pd.DataFrame({"one": one.to_numpy(), "other": other.to_numpy()}).drop_duplicates()
    return len(pairs) == pairs["one"].nunique() == pairs["other"].nunique()
