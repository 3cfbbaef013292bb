"""Scores as they are read: in the target's unit, in per cent, with their spread, and beside the baseline's."""

from __future__ import annotations

import re
from html import escape

from frontend.catalogue import Baseline, Detail
from frontend.words import MISSING, Words

# Metrics of which less is better.
ERRORS = frozenset({"rmse", "mae", "mape", "rmse_percent", "log_loss", "brier", "calibration_error"})
# In the unit of what is answered.
AMOUNTS = frozenset({"rmse", "mae"})
# Between 0 and 1, and read as a share of all cases.
SHARES = frozenset(
    {
        "accuracy",
        "balanced_accuracy",
        "mape",
        "interval_coverage",
        "coverage",
        "segment_accuracy",
        "direction",
        "calibration_error",
    }
)
# In per cent as it stands.
PERCENT = frozenset({"rmse_percent"})
# The order in which a page tells them; what is not here is for the model card and MLflow.
TOLD = (
    "rmse",
    "mae",
    "mape",
    "r2",
    "rmse_percent",
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "f1",
    "brier",
    "direction",
    "interval_coverage",
    "coverage",
    "segment_accuracy",
    "calibration_error",
    "silhouette",
    "stability",
    "smallest_cluster",
)
_NUMBERED = re.compile(r"(.+?)(?:-(\d+))?", re.DOTALL)
_QUOTED = re.compile("“([^”]+)”")
BESIDE = ("baseline_{}", "naive_{}", "{}_shuffled")


def name(metric: str, words: Words) -> str:
    """The metric's name for people; its own where there is none."""
    return words.get(f"metric.{metric}", metric.replace("_", " "))


def candidate(text: str, words: Words) -> str:
    """A candidate's name for people: `random_forest-median_imputer-2` as "Random forest · gaps filled 2"."""
    found = _NUMBERED.fullmatch(text)
    name, number = found.groups() if found else (text, None)
    family, _, preparation = name.partition("-")
    told = [words.get(f"candidate.{each}", each.replace("_", " ")) for each in (family, preparation) if each]
    return " · ".join(told) + (f" {number}" if number else "")


def chosen_by(model: Detail, words: Words) -> str:
    """By which measure the candidate in use was chosen, and why it is not the one that scores best where it is not.

    Classifiers about as often right as the best count as equal, and the one with the truest probabilities is taken.
    """
    beside = model.baseline
    winner = next((each for each in model.candidates if each.name == model.winner), None)
    if beside is None or winner is None or beside.metric not in winner.metrics:
        return ""
    metric = beside.metric
    known = [each for each in model.candidates if metric in each.metrics]
    best = min(known, key=lambda each: each.metrics[metric] * (1 if metric in ERRORS else -1))
    if metric != "accuracy" or "brier" not in winner.metrics:
        return words("pages.chosen_by", measure=name(metric, words))
    if best.name == winner.name or best.metrics[metric] == winner.metrics[metric]:
        return words("pages.chosen_by_both", measure=name(metric, words), second=name("brier", words))
    return words(
        "pages.chosen_not_best",
        best=candidate(best.name, words),
        best_score=score(metric, best.metrics[metric], model, words),
        winner=candidate(winner.name, words),
        winner_score=score(metric, winner.metrics[metric], model, words),
        best_brier=bare("brier", best.metrics.get("brier"), words),
        winner_brier=bare("brier", winner.metrics["brier"], words),
    )


def amount(value: float | None, unit: str, words: Words) -> str:
    """An amount with as many digits as matter, and its unit."""
    if value is None:
        return MISSING
    digits = 0 if abs(value) >= 100 else 2
    return f"{words.number(value, digits)} {unit}".rstrip()


def share(value: float | None, words: Words, digits: int = 1) -> str:
    """A share of 1 in per cent."""
    return MISSING if value is None else f"{_hundredths(value, words, digits)} %"


def _hundredths(value: float, words: Words, digits: int = 1) -> str:
    # Rounded as a share first: 0.8225 is 0.823 where shares are told, and 100 times it must not become 82.2.
    return words.number(100 * round(value, digits + 2), digits)


def sign(value: float, text: str) -> str:
    """The sign of a difference that is shown as `text`, its amount: none where nothing but zeros is shown."""
    if not re.search("[1-9]", text):
        return ""
    return "−" if value < 0 else "+"


def outcomes(text: str, words: Words) -> str:
    """A sentence of the API with the answers that it quotes (“Loan Approved”) in the reader's words."""

    def told(found: re.Match[str]) -> str:
        name = found[1].lower().replace(" ", "_")
        return f"“{words.get(f'outcome.{name}', found[1])}”"

    return _QUOTED.sub(told, text)


def note(text: str, model: Detail, words: Words) -> str:
    """A sentence of the API as a page writes it: candidates by their names, a true minus, and a space before %."""
    for each in sorted((tried.name for tried in model.candidates), key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(each)}(?![\w-])", candidate(each, words), text)
    text = re.sub(r"(?<!\w)-(?=\d)", "−", text)
    return re.sub(r"(?<=\d)%", " %", text)


def bare(metric: str, value: float | None, words: Words, like: float | None = None) -> str:
    """A score without unit, for tables and beside one that has it; with as many digits as `like` has, if given."""
    if value is None:
        return MISSING
    if metric in SHARES:
        return _hundredths(value, words)
    if metric in AMOUNTS or metric == "smallest_cluster":
        size = abs(value if like is None else like)
        return words.number(value, 0 if size >= 100 or metric == "smallest_cluster" else 2)
    return words.number(value, 2 if metric in PERCENT else 3)


def unit(metric: str, model: Detail, words: Words) -> str:
    """The unit that a score is told in."""
    if metric in SHARES or metric in PERCENT:
        return "%"
    if metric in AMOUNTS and model.target and model.target.unit:
        return model.target.unit(words.language)
    return ""


def score(metric: str, value: float | None, model: Detail, words: Words, spread: float | None = None) -> str:
    """A score, its spread and its unit: `1.454 ± 72 dolar AS`."""
    text = bare(metric, value, words)
    if value is not None and spread is not None:
        text += f" ± {bare(metric, spread, words, value)}"
    return f"{text} {unit(metric, model, words)}".rstrip()


def difference(metric: str, value: float, model: Detail, words: Words) -> str:
    """How far two scores are apart: of shares in points, for a per cent of a per cent is something else."""
    points = metric in SHARES or metric in PERCENT
    return f"{bare(metric, value, words)} {words('score.points') if points else unit(metric, model, words)}".rstrip()


def finding(model: Detail, words: Words) -> str:
    """How good the model is beside its baseline, in a sentence."""
    beside = model.baseline
    if beside is None:
        return grouping(model, words)
    if beside.same:
        return words("finding.same", rule=outcomes(beside.text(words.language), words))
    kind = "share" if beside.metric in SHARES else "error"
    key = f"finding.{kind}" if beside.better else f"finding.{kind}_ties"
    return words(
        key,
        model=score(beside.metric, beside.model, model, words),
        baseline=score(beside.metric, beside.baseline, model, words),
        rule=outcomes(beside.text(words.language), words),
    )


def grouping(model: Detail, words: Words) -> str:
    """How many groups there are, in a sentence."""
    rows = sum(level.size for level in model.levels)
    largest = max(model.levels, key=lambda level: level.size)
    return words(
        "finding.groups",
        count=len(model.levels),
        rows=words.number(rows, 0),
        largest=largest.label(words.language),
        share=share(largest.size / max(rows, 1), words, 0),
    )


def beside(baseline: Baseline, model: Detail, words: Words, *, note: bool = True) -> str:
    """The model's score and its baseline's as two bars on one scale, and what that means."""
    metric = baseline.metric
    ceiling = 1.0 if metric in SHARES else max(baseline.model or 0.0, baseline.baseline or 0.0) * 1.12 or 1.0
    rows = _bar(
        words("score.model"),
        score(metric, baseline.model, model, words, baseline.spread),
        (baseline.model, baseline.spread, ceiling),
        "own",
    ) + _bar(
        outcomes(baseline.text(words.language), words),
        score(metric, baseline.baseline, model, words),
        (baseline.baseline, None, ceiling),
        "other",
    )
    direction = words("score.less" if metric in ERRORS else "score.more")
    head = f'<p class="sg-small">{escape(name(metric, words))} · {escape(direction)}</p>'
    return f'<div class="sg-beside">{head}{rows}{_verdict(baseline, model, words) if note else ""}</div>'


def _bar(label: str, value: str, at: tuple[float | None, float | None, float], kind: str) -> str:
    end = 100 * min(max((at[0] or 0.0) / at[2], 0.0), 1.0)
    whisker = ""
    if at[0] is not None and at[1]:
        half = 100 * at[1] / at[2]
        left, right = max(end - half, 0.0), min(end + half, 100.0)
        whisker = f'<i class="whisker" style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
    return (
        f'<div class="row {kind}"><div class="top"><span>{escape(label)}</span><b>{escape(value)}</b></div>'
        f'<div class="bar"><i style="width:{end:.1f}%"></i>{whisker}</div></div>'
    )


def _verdict(baseline: Baseline, model: Detail, words: Words) -> str:
    metric = baseline.metric
    if baseline.same:
        return f'<p class="sg-small verdict">{escape(words("score.same"))}</p>'
    text = words(
        "score.better" if baseline.better else "score.ties",
        difference=difference(metric, baseline.difference, model, words),
        low=bare(metric, baseline.low, words),
        high=bare(metric, baseline.high, words),
        confidence=f"{words.figure(round(100 * baseline.confidence, 1))} %",
    )
    return f'<p class="sg-small verdict">{escape(text)}</p>'


def _spread(metric: str, value: float, spread: float | None, words: Words) -> str:
    around = "" if spread is None else f" ± {bare(metric, spread, words, value)}"
    return bare(metric, value, words) + around


def tests_choice(model: Detail) -> bool:
    """Whether the choice among candidates was tested too, so that the scores have a column for it."""
    return any(key.startswith("nested_") for key in model.metrics)


def table(model: Detail, words: Words) -> str:
    """All scores for people, each with its spread and beside its baseline's."""
    rows = []
    for metric in TOLD:
        if metric not in model.metrics:
            continue
        spread = model.metrics.get(f"{metric}_sd")
        other = next((model.metrics[key] for form in BESIDE if (key := form.format(metric)) in model.metrics), None)
        nested = model.metrics.get(f"nested_{metric}")
        rows.append(
            f'<tr><th scope="row" title="{escape(metric)}">{escape(name(metric, words))}'
            f' <span class="sg-small">{escape(unit(metric, model, words))}</span></th>'
            f"<td>{escape(_spread(metric, model.metrics[metric], spread, words))}</td>"
            f"<td>{escape(bare(metric, other, words))}</td><td>{escape(bare(metric, nested, words))}</td></tr>"
        )
    heads = [words("metrics.name"), words("score.model"), words("metrics.baseline"), words("metrics.nested")]
    body = f"<tr>{''.join(f'<th scope=col>{escape(head)}</th>' for head in heads)}</tr>{''.join(rows)}"
    # A column of dashes says nothing.
    plain = "" if tests_choice(model) else " no-nested"
    return f'<div class="sg-scroll"><table class="sg-table{plain}">{body}</table></div>'
