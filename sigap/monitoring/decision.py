"""From tested features to a window's verdict, and from windows to an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from sigap.monitoring.rules import Rules
from sigap.monitoring.samples import Sample
from sigap.monitoring.statistics import Difference, compare_categories, compare_numbers


@dataclass(frozen=True)
class Feature:
    """A tested feature and what is made of it.

    Attributes:
        tested: The test.
        p_adjusted: Its p-value after the correction over all features of the window; None where nothing was tested.
        drifted: Whether p and effect both say so.
    """

    tested: Difference
    p_adjusted: float | None
    drifted: bool


@dataclass(frozen=True)
class Verdict:
    """A window.

    Attributes:
        features: Each tested one, in the samples' order.
        share: Drifted features over tested ones.
        drifted: Whether the share is reached.
    """

    features: tuple[Feature, ...]
    share: float
    drifted: bool


def compare(reference: Sample, now: Sample, names: Sequence[str], rules: Rules) -> Verdict:
    """Tests the features `names` one after another, so that only one column of each sample is held at a time."""
    tested = []
    for name in names:
        if reference.is_number(name):
            tested.append(compare_numbers(name, reference.numbers(name), now.numbers(name), rules.effect))
        else:
            (known, lacking), (new, lacking_now) = reference.counts(name), now.counts(name)
            missing = (lacking, lacking_now)
            tested.append(compare_categories(name, known, new, missing, rules.effect, rules.random_state))
    return judge(tested, rules)


def judge(tested: Sequence[Difference], rules: Rules) -> Verdict:
    """Corrects the p-values and applies floor and share.

    By Benjamini and Hochberg (1995), not Holm: what is decided on is the share of drifted features, and theirs bounds
    the expected share of false ones among them, where Holm's bounds the chance of a single one and with many features
    sees little. Features go up and down together, which it allows for (Benjamini and Yekutieli, 2001).
    """
    known = [each for each in tested if each.p is not None]
    adjusted = stats.false_discovery_control([each.p for each in known]) if known else []
    by_name = {each.feature: float(p) for each, p in zip(known, adjusted, strict=True)}
    features = tuple(
        Feature(each, p := by_name.get(each.feature), p is not None and p < rules.alpha and each.effect >= rules.effect)
        for each in tested
    )
    share = sum(each.drifted for each in features) / len(features) if features else 0.0
    return Verdict(features, share, bool(features) and share >= rules.share)


def alarms(windows: Sequence[bool], rules: Rules) -> bool:
    """Whether enough of the newest windows drifted; `windows` in their order, the newest last."""
    return sum(windows[-rules.windows :]) >= rules.drifted_windows
