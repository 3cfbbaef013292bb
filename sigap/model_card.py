"""The model card: what a model is for, what it saw, how good it is beside its baseline, and where it ends.

After Mitchell et al. 2019, "Model Cards for Model Reporting" (doi:10.1145/3287560.3287596). Everything in it comes from
the declaration and the manifest, so that whoever has a bundle can show its card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sigap.bundle import (
    CandidateEntry,
    ClassificationManifest,
    ClusteringManifest,
    Manifest,
    RegressionManifest,
    SupervisedManifest,
)
from sigap.catalog import Declaration
from sigap.catalog.declaration import Classification, Clustering, Forecasting

CARD = "model_card.md"
"""Its name among the artefacts of the run that registered the model."""

# What as many clusters reach on rows without groups; a clustering has it if its declaration asks for it.
SHUFFLED = "silhouette_shuffled"
# Kaufman and Rousseeuw (1990), table 2.4: no substantial structure.
NO_ISLANDS = 0.25
_HIGHER_IS_BETTER = {"silhouette": True, "accuracy": True, "rmse": False}


@dataclass(frozen=True)
class Headline:
    """A model's score in one line.

    Attributes:
        metric: What it was chosen by.
        score: Its mean; None where nothing was scored.
        spread: Standard deviation over folds; None where the metric has none.
        baseline: The hardest baseline's score by the same metric on the same folds; None for clusterings.
        baseline_name: Such as `median`.
        ties: Whether the baseline is not surely beaten.
        note: What else belongs beside it.
    """

    metric: str
    score: float | None
    spread: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    ties: bool = False
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @property
    def text(self) -> str:
        """Such as `rmse 2,012 ± 310`."""
        if self.score is None:
            return "-"
        spread = f" ± {number(self.spread)}" if self.spread is not None else ""
        note = f", {self.note}" if self.note else ""
        return f"{self.metric} {number(self.score)}{spread}{note}"

    @property
    def baseline_text(self) -> str:
        """Such as `7,704 (median)`."""
        if self.baseline is None:
            return "-"
        named = ", ".join(word for word in (self.baseline_name, "not beaten" if self.ties else "") if word)
        return number(self.baseline) + (f" ({named})" if named else "")


def headline(
    declaration: Declaration, metrics: Mapping[str, float], details: Mapping[str, Any] | None = None
) -> Headline:
    """The score of a candidate or a model with these metrics; `details` are the candidate's, with its baseline."""
    metric = declaration.task.selection
    note = ""
    if isinstance(declaration.task, Clustering) and "stability" in metrics:
        spread = f" ± {metrics['stability_sd']:.2f}" if "stability_sd" in metrics else ""
        note = f"stability {metrics['stability']:.2f}{spread}"
    forecasts = isinstance(declaration.task, Forecasting)
    if metrics.get("better_than_naive") == 0.0:
        note = "the naive forecast itself"
    named = (details or {}).get("baseline") or {}
    if isinstance(declaration.task, Clustering):
        # Rows without any groups: what a clustering of them reaches is no merit.
        named = {"name": "shuffled columns"}
        metrics = {**metrics, **({"baseline_silhouette": metrics[SHUFFLED]} if SHUFFLED in metrics else {})}
    return Headline(
        metric=metric,
        score=metrics.get(metric),
        spread=metrics.get(f"{metric}_sd"),
        baseline=metrics.get(f"{'naive' if forecasts else 'baseline'}_{metric}"),
        baseline_name="naive" if forecasts else str(named.get("name", "")).replace("_", " "),
        # Beyond doubt: the whole interval of the gain lies above zero.
        ties="gain_low" in metrics and metrics["gain_low"] <= 0,
        note=note,
    )


def best(declaration: Declaration, tried: Sequence[Mapping[str, Any]]) -> Headline:
    """The best score among candidates (as plain JSON), admissible or not: what a refusal is told with."""
    found = [headline(declaration, each["metrics"], each.get("details")) for each in tried]
    scored = [each for each in found if each.score is not None]
    if not scored:
        return Headline(declaration.task.selection, None)
    return (max if _HIGHER_IS_BETTER[declaration.task.selection] else min)(scored, key=lambda each: each.score or 0.0)


def number(value: float) -> str:
    """A figure as it is read: three decimals when small, grouped thousands when large."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def percent(share: float) -> str:
    """A confidence as it is read, never rounded up to certainty: `95 %`, `99.86 %`."""
    decimals = 0
    while share < 1 and float(f"{100 * share:.{decimals}f}") in (0.0, 100.0) and decimals < 9:
        decimals += 1
    # One more where it was needed at all: 99.9 would hide whether that is 99.86 or 99.94.
    return f"{100 * share:.{decimals + 1 if decimals else 0}f} %"


def _shared(manifest: SupervisedManifest) -> str:
    if manifest.baseline.name == "one_column_rule":
        return "and the model is stood by unless it is surely worse"
    return "the chance of an error being shared among the candidates of the sweep"


def model_card(declaration: Declaration, manifest: Manifest) -> str:
    """The card as Markdown, in English; the same manifest gives the same text."""
    parts = [
        f"# {declaration.title.en} (`{declaration.name}`)\n\n{declaration.question.en}",
        _purpose(declaration, manifest),
        _data(declaration, manifest),
        _score(declaration, manifest),
        _candidates(declaration, manifest),
        _fairness(manifest),
        _features(declaration, manifest),
        _limits(declaration, manifest),
        _provenance(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _purpose(declaration: Declaration, manifest: Manifest) -> str:
    answers = {
        "clustering": "the group that a row belongs to, and its distance to the group's centre",
        "regression": "a number with an interval",
        "classification": "yes or no, with a probability and reasons",
        "forecasting": "the next value with an interval, beside the naive forecast that nothing changes",
    }[manifest.task]
    kind = "forecast" if manifest.task == "forecasting" else manifest.task
    lines = [f"A {kind}. It answers {answers}."]
    if declaration.target is not None:
        unit = f", in {declaration.target.unit.en}" if declaration.target.unit and declaration.target.unit.en else ""
        lines.append(f"Target: {declaration.target.title.en} (`{declaration.target.name}`){unit}.")
    lines.append("It supports a person's judgement and does not replace it.")
    return "## What it is for\n\n" + " ".join(lines)


def _data(declaration: Declaration, manifest: Manifest) -> str:
    data = manifest.data
    rows = [
        ("Source", f"table `{declaration.source.table}`; {_source(declaration, data.origin)}"),
        ("Data version", f"{data.version} (DVC md5 `{data.md5}`)"),
        ("Rows", f"{data.rows:,}, and {data.rows_rejected:,} set aside because they broke the contract"),
        *([("Trained on", f"{data.sample.rows:,} of these rows, {data.sample.drawn}")] if data.sample else []),
        ("Newest period", str(data.period) if data.period is not None else "rows have no time"),
        ("Commit of the data", data.git_commit or "not committed"),
    ]
    query = f"Query:\n\n```sql\n{data.query.strip()}\n```" if data.query else ""
    return "\n\n".join(part for part in ("## Data", _table(("", ""), rows), query) if part)


def _source(declaration: Declaration, origin: str) -> str:
    """Where the rows are from; the declared source is that of the rows that Sigap brings along."""
    return {
        "mock": "**mock data: made up, nobody's own**",
        "import": "imported from a file of its owner",
        "live": "taken from the exchange as it traded",
        "own": "written into the table by its owner",
        "mixed": "rows of several sources",
    }.get(origin, declaration.data_source.en)


def _score(declaration: Declaration, manifest: Manifest) -> str:
    found = headline(declaration, manifest.metrics)
    lines = []
    if isinstance(manifest, SupervisedManifest):
        gain, baseline = manifest.baseline.gain, manifest.baseline
        theirs = baseline.metrics.get(found.metric)
        lines.append(
            _table(
                ("", found.metric),
                [
                    (f"this model (`{manifest.winner}`)", _plus_minus(found.score, found.spread)),
                    (f"baseline: {baseline.text.en}", "-" if theirs is None else number(theirs)),
                    (f"gain on the same {gain.rows:,} rows", _interval(gain.difference, gain.low, gain.high)),
                ],
            )
        )
        told = manifest.caveat
        lines.append(told.en if told else "The model is better than its baseline.")
        if gain.low < gain.high:
            lines.append(f"The interval of the gain has {percent(gain.confidence)} confidence, {_shared(manifest)}.")
    else:
        lines.append(f"{found.text[0].upper()}{found.text[1:]}. A clustering has no truth to be held against.")
        if found.baseline is not None:
            lines.append(
                f"On the same columns, each shuffled on its own so that there are no groups, as many clusters reach "
                f"{number(found.baseline)}."
            )
    if isinstance(manifest, RegressionManifest) or manifest.task == "forecasting":
        interval = manifest.interval
        lines.append(
            f"Intervals are made to hold {interval.confidence:.0%} of the true values and held "
            f"{interval.coverage:.1%} of those set aside ({interval.method})."
        )
    if isinstance(manifest, ClassificationManifest):
        lines.append(manifest.calibration.en)
    others = [(name, number(value)) for name, value in manifest.metrics.items()]
    return "\n\n".join(["## Score", *lines, "All measures:", _table(("measure", "value"), others)])


def _candidates(declaration: Declaration, manifest: Manifest) -> str:
    rows = []
    for each in manifest.sweep:
        name = f"k = {each.k}" if isinstance(each, CandidateEntry) else each.name
        text = headline(declaration, each.metrics).text
        rows.append((name, text, "yes" if each.admissible else f"no: {each.reason.en if each.reason else ''}"))
    return "## Candidates of the sweep\n\n" + _table(("candidate", "score", "admissible"), rows)


def _fairness(manifest: Manifest) -> str:
    if not isinstance(manifest, ClassificationManifest) or not manifest.fairness:
        return ""
    rows = [
        (each.feature, each.value, f"{each.rows:,}", f"{each.approval_rate:.1%}", f"{each.actual_rate:.1%}",
         f"{each.disparate_impact:.2f}" + (" (adverse)" if each.disparate_impact < 0.8 else ""))
        for each in manifest.fairness
    ]  # fmt: skip
    heads = ("feature", "group", "rows", "approved by the model", "approved in the data", "disparate impact")
    return (
        "## Fairness\n\n" + _table(heads, rows) + "\n\nDisparate impact is the approval rate over that of the "
        "best-faring group; below 0.8 it is taken for adverse (four-fifths rule)."
    )


def _features(declaration: Declaration, manifest: Manifest) -> str:
    rows = []
    for name in manifest.features_used:
        try:
            meaning = declaration.feature(name).meaning.en
        except KeyError:
            meaning = ""
        seen = manifest.training_range.get(name)
        rows.append((f"`{name}`", meaning, f"{number(seen.minimum)} to {number(seen.maximum)}" if seen else ""))
    used = _table(("used", "meaning", "seen in training"), rows)
    if not manifest.features_left_out:
        return f"## Features\n\n{used}\n\nNo declared feature is left out."
    left = _table(("left out", "why"), [(f"`{each.name}`", each.reason.en) for each in manifest.features_left_out])
    return f"## Features\n\n{used}\n\n{left}"


def _limits(declaration: Declaration, manifest: Manifest) -> str:
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limit_sentences(declaration, manifest))


def _limit_sentences(declaration: Declaration, manifest: Manifest) -> Iterator[str]:
    rows = manifest.data.sample.rows if manifest.data.sample else manifest.data.rows
    yield f"Trained on {rows:,} rows of one source; elsewhere, or later, it may be wrong."
    if lacking := [column for column in manifest.inputs if column.missing_share > 0]:
        most = max(lacking, key=lambda column: column.missing_share)
        yield (
            f"{len(lacking)} features have missing values, {most.feature} most ({most.missing_share:.1%}): the model "
            "puts the median in place of a number and takes a missing category for none of those known."
        )
    if manifest.training_range:
        yield "Outside the ranges above an answer extrapolates; the API then says so."
    if isinstance(manifest, ClusteringManifest):
        yield "Groups describe the rows and explain nothing; another k or other features would give other groups."
        if manifest.metrics.get("silhouette", 1.0) <= NO_ISLANDS:
            yield (
                f"With a silhouette up to {NO_ISLANDS} groups have no sharp borders: they divide a smooth transition "
                "(Kaufman and Rousseeuw 1990)."
            )
    elif manifest.task == "forecasting":
        yield manifest.note.en
        yield "Prices of the past do not decide those to come; this is no advice to buy or sell."
    else:
        yield "What goes along with the target need not cause it: changing a feature need not change the outcome."
    if isinstance(manifest, SupervisedManifest) and manifest.task != "forecasting" and manifest.caveat:
        yield manifest.caveat.en
    if isinstance(manifest, ClassificationManifest) and not manifest.calibrated:
        yield "Its probabilities are not calibrated."
    if isinstance(declaration.task, Classification) and declaration.task.policies:
        rules = "; ".join(policy.reason.en for policy in declaration.task.policies)
        yield f"Whatever the model says, these rules of the lender reject: {rules}."
    if personal := [feature.name for feature in declaration.features if feature.personal]:
        yield f"It uses what is said about persons ({', '.join(personal)}): see who may see it and why."


def _provenance(manifest: Manifest) -> str:
    rows = [
        ("Trained", manifest.trained_at),
        ("MLflow run", manifest.run_id or "-"),
        ("Code", manifest.code.git_commit or "-"),
        ("Environment (sha256 of the lock)", manifest.code.lock_sha256 or "-"),
        ("Fingerprint", manifest.fingerprint),
    ]
    return "## Where it comes from\n\n" + _table(("", ""), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def _plus_minus(score: float | None, spread: float | None) -> str:
    if score is None:
        return "-"
    return number(score) + (f" ± {number(spread)}" if spread is not None else "")


def _interval(value: float, low: float, high: float) -> str:
    return f"{number(value)} [{number(low)}, {number(high)}]"
