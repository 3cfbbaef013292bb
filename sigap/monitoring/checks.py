"""A check: one window of one subject against what the champion was trained on, decided, recorded and reported.

It fails closed. What can't be compared is an alarm with its reason, never a steady window.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sigap.bundle import Manifest, read_manifest
from sigap.catalog import Declaration, declaration, declarations
from sigap.errors import BundleError, ConfigurationError, RegistryError, SigapError, UnreachableError
from sigap.logs import ids
from sigap.monitoring.decision import Verdict, alarms, compare
from sigap.monitoring.records import SUBJECTS, Check, Records, Subject, records
from sigap.monitoring.report import keep_report
from sigap.monitoring.rules import Rules, read_rules
from sigap.monitoring.subjects import Pair, live_names, live_pair, table_pair
from sigap.promotion import ModelVersion
from sigap.registry.connection import wait_for_answer
from sigap.registry.models import Registry
from sigap.settings import Settings, get_settings

log = logging.getLogger(__name__)

Told = Callable[[str, Subject, Check | None], None]

# Seconds.
_HOUR, _DAY = 3_600, 86_400

_SCOPES = {
    "inputs": "{rows} live inputs",
    "new_rows": "{rows} rows of the newest table that training did not see",
    "table": "{rows} rows of the newest table",
}


def check_all(
    models: Sequence[str] = (),
    subjects: Sequence[Subject] = SUBJECTS,
    *,
    settings: Settings | None = None,
    tell: Told | None = None,
    only_new: bool = False,
) -> list[Check]:
    """Checks the champions of `models`, by default of all declared ones, one after another.

    Args:
        models: Names of declarations; one without a champion is passed over.
        subjects: What to check.
        settings: Those of this process if not given.
        tell: Called after each, with None where there was nothing to check.
        only_new: See `check`.

    Raises:
        UnknownModelError: There is no such model.
        ServiceError: PostgreSQL can't be reached, so that nothing could be recorded.
        RegistryError: Of some model nobody knows whether it has a champion; all others were checked.
        ConfigurationError: The rules can't be used.
    """
    settings = settings or get_settings()
    done: list[Check] = []
    faults: list[SigapError] = []
    for name in models or [each.name for each in declarations()]:
        for subject in subjects:
            made = None
            try:
                made = check(name, subject, settings=settings, only_new=only_new)
            except (RegistryError, BundleError) as error:
                faults.append(error)
            if faults or (made and made.status == "failed"):
                # What was waited for once is not waited for again: twelve times would be longer than a step may take.
                settings = settings.model_copy(update={"registry_wait_seconds": 0.0})
            if tell:
                tell(name, subject, made)
            done += [made] if made else []
    if faults:
        raise faults[0]
    return done


def check_named(
    model: str | None = None, subject: str | None = None, *, tell: Told | None = None, only_new: bool = False
) -> list[Check]:
    """`check_all` by the names that a person or a trigger gives.

    Args:
        model: Name of a declaration; `all`, empty or None for all.
        subject: `live` or `table`; empty or None for both.
        tell: See `check_all`.
        only_new: See `check`.

    Raises:
        ConfigurationError: There is no such subject.
        SigapError: See `check_all`.
    """
    subjects: list[Subject] = [each for each in SUBJECTS if not subject or each == subject]
    if not subjects:
        raise ConfigurationError(f"There is no subject {subject!r} of drift.", remedy="It is `live` or `table`.")
    return check_all([model] if model and model != "all" else (), subjects, tell=tell, only_new=only_new)


def check(model: str, subject: Subject, *, settings: Settings | None = None, only_new: bool = False) -> Check | None:
    """Checks one subject of one model.

    Args:
        model: Its name.
        subject: What to check.
        settings: Those of this process if not given.
        only_new: Whether to leave a champion alone that the newest check was about: right after a promotion one window
            is wanted, not one more beside that of the schedule.

    Returns:
        The check as recorded; None where the model has no champion, somebody else is at the same check, or nothing is
        new.

    Raises:
        UnknownModelError: There is no such model.
        ServiceError: PostgreSQL can't be reached, so that nothing could be recorded.
        ConfigurationError: The rules can't be used.
    """
    settings = settings or get_settings()
    declared, rules = declaration(model), read_rules(settings.root)
    with records(settings) as kept, kept.alone(model, subject) as alone:
        if not alone:
            return None
        return _Checking(declared, subject, rules, settings, kept).check(only_new=only_new)


class _Checking:
    """One check, while it is made."""

    def __init__(
        self, declared: Declaration, subject: Subject, rules: Rules, settings: Settings, kept: Records
    ) -> None:
        self.declared = declared
        self.subject = subject
        self.rules = rules
        self.settings = settings
        self.kept = kept
        self.windows = kept.newest(declared.name, subject, rules.windows, computed=True)

    def check(self, *, only_new: bool = False) -> Check | None:
        started = time.perf_counter()
        try:
            champion, manifest = self._champion()
        except SigapError as error:
            return self._without_champion(error)
        if champion is None or manifest is None:
            return None
        if only_new and self._was_checked(champion):
            return None
        about = {"model_version": champion.name, "run_id": champion.run_id, "data_version": manifest.data.version}
        with ids(model=self.declared.name, **about):
            made = self._checked(champion, manifest, started)
            self._tell(made)
        return made

    def _checked(self, champion: ModelVersion, manifest: Manifest, started: float) -> Check:
        blank = self._blank(champion, manifest)
        with tempfile.TemporaryDirectory(prefix="sigap-drift-") as folder:
            try:
                made, pair, verdict = self._compared(blank, manifest, Path(folder))
            except Exception as error:  # whatever it is: what can't be compared is not steady
                if not isinstance(error, SigapError):
                    log.exception("%s: the check of %s failed.", self.declared.name, self.subject)
                return self.kept.write(self._failed(blank, error), ())
            made = replace(made, details={**made.details, "seconds": round(time.perf_counter() - started, 3)})
            written = self.kept.write(made, verdict.features if verdict else ())
            self.kept.forget(written)
            if pair is None or verdict is None:
                return self._same_again(written)
            return self._reported(written, pair, verdict, Path(folder))

    def _tell(self, made: Check) -> None:
        """Logs the alarm where it is raised or over; the reason stands in PostgreSQL, for it may quote a value."""
        before = self.windows[0] if self.windows else None
        was = before is not None and before.alarm
        if made.alarm and not (was and before is not None and before.model_version == made.model_version):
            log.warning("%s %s: drift alarm (%s), check %d.", made.model, made.model_version, made.subject, made.id)
        elif was and not made.alarm:
            log.info("%s %s: the drift alarm (%s) is over.", made.model, made.model_version, made.subject)

    def _champion(self) -> tuple[ModelVersion | None, Manifest | None]:
        limit = time.monotonic() + self.settings.registry_wait_seconds
        while True:
            try:
                registry = Registry(self.settings)
                champion = registry.champion(self.declared.name)
                if champion is None or not champion.servable:
                    return None, None
                return champion, read_manifest(registry.bundle(champion))
            except UnreachableError:
                # Whoever supervises MLflow starts it again; a champion that is not known can't be checked.
                if not wait_for_answer(self.settings, limit - time.monotonic()):
                    raise

    def _without_champion(self, error: SigapError) -> Check | None:
        last = self.kept.newest(self.declared.name, self.subject)
        if not last:
            # It may never have had one, and there is no version to record the fault under.
            raise error
        blank = Check(
            self.declared.name, last[0].model_version, self.subject, 0, 0, "failed", None, True, True, "",
            last_prediction=last[0].last_prediction, details={"rules": dict(self.rules.public())},
        )  # fmt: skip
        return self.kept.write(self._failed(blank, error), ())

    def _blank(self, champion: ModelVersion, manifest: Manifest) -> Check:
        details = {"rules": dict(self.rules.public()), "reference": manifest.data.version}
        # Each check carries it on, so that no input is used again when old checks are deleted.
        used = self.kept.used_until(self.declared.name) if self.subject == "live" else None
        return Check(
            self.declared.name, champion.name, self.subject, 0, 0, "too_few", None, False, self._standing(champion),
            "", run_id=champion.run_id or None, last_prediction=used, details=details,
        )  # fmt: skip

    def _standing(self, champion: ModelVersion) -> bool:
        """Whether an alarm of this version stands: with nothing new to go by, it neither rises nor ends."""
        newest = self.windows[0] if self.windows else None
        return newest is not None and newest.model_version == champion.name and newest.alarm

    def _was_checked(self, champion: ModelVersion) -> bool:
        newest = self.kept.newest(self.declared.name, self.subject)
        return bool(newest) and newest[0].model_version == champion.name

    def _failed(self, blank: Check, error: Exception) -> Check:
        said = str(error) if isinstance(error, SigapError) else f"{type(error).__name__}, see the log."
        reason = f"The check failed, which counts as drift: {said}"
        return replace(blank, status="failed", drifted=True, alarm=True, share=None, reason=reason)

    def _compared(self, blank: Check, manifest: Manifest, folder: Path) -> tuple[Check, Pair | None, Verdict | None]:
        """The check, not yet written; without samples where there are too few rows, or the same as last time."""
        if self.subject == "live":
            if not live_names(self.declared, manifest):
                return replace(blank, reason="Every input is personal and not kept as it was sent."), None, None
            window = self.kept.live(self.declared.name, self.rules.maximum_rows)
            if window.rows < self.rules.minimum_rows:
                return self._too_few(blank, window.rows, "live inputs since the last window"), None, None
            pair = live_pair(self.declared, manifest, self.settings, window.fields)
            if pair.now.rows < self.rules.minimum_rows:
                return self._too_few(blank, pair.now.rows, "different live inputs"), None, None
            blank = replace(blank, last_prediction=window.last, details={**blank.details, "inputs": window.rows})
        else:
            pair = table_pair(self.declared, manifest, self.settings, folder, self.rules)
            if same := self._same(blank, pair):
                return self._decided(blank, pair, same.share or 0.0, same.drifted), None, None
            if pair.now.rows < self.rules.minimum_rows:
                return self._too_few(blank, pair.now.rows, "rows in the newest table"), None, None
        verdict = compare(pair.reference, pair.now, pair.names, self.rules)
        return self._decided(blank, pair, verdict.share, verdict.drifted), pair, verdict

    def _same(self, blank: Check, pair: Pair) -> Check | None:
        """The last window, if the table and all that it is compared with are what they were."""
        last = self.windows[0] if self.windows else None
        if last is None or last.status != "computed" or last.data_md5 != pair.data_md5 or last.report_failed:
            return None
        same = last.model_version == blank.model_version and last.details.get("rules") == blank.details["rules"]
        return last if same else None

    def _too_few(self, blank: Check, rows: int, what: str) -> Check:
        reason = f"Only {rows} {what}; {self.rules.minimum_rows} are needed."
        return replace(blank, rows=rows, reason=reason)

    def _decided(self, blank: Check, pair: Pair, share: float, drifted: bool) -> Check:
        before = [each.drifted for each in reversed(self.windows) if each.model_version == blank.model_version]
        alarm = alarms([*before, drifted], self.rules)
        count = round(share * len(pair.names))
        reason = (
            f"{count} of {len(pair.names)} features drifted in {_SCOPES[pair.scope].format(rows=pair.now.rows)}; "
            f"{self.rules.share:.0%} make a window drift."
        )
        if drifted != alarm:
            rule = f"{self.rules.drifted_windows} of the last {self.rules.windows} windows"
            reason += f" No alarm yet: it takes {rule}." if drifted else f" The alarm stands: {rule} drifted."
        return replace(
            blank,
            rows=pair.now.rows,
            reference_rows=pair.reference.rows,
            status="computed",
            share=share,
            drifted=drifted,
            alarm=alarm,
            reason=reason,
            data_md5=pair.data_md5,
            details={**blank.details, "scope": pair.scope},
        )

    def _same_again(self, written: Check) -> Check:
        if written.status != "computed":
            return written
        last = self.windows[0]
        self.kept.move_features(last, written)
        return self.kept.reported(written, last.report) if last.report else written

    def _reported(self, written: Check, pair: Pair, verdict: Verdict, folder: Path) -> Check:
        """Makes the report where it is of use: when a window drifts or alarms anew, then once an hour.

        Of steady windows there is one a day, to compare with. A report of each window of a drift that lasts would say
        the same 144 times a day, at 4 MB.
        """
        last = self.windows[0] if self.windows else None
        troubled = written.drifted or written.alarm
        anew = troubled and (last is None or (last.drifted, last.alarm) != (written.drifted, written.alarm))
        owed = last is not None and last.report_failed
        if not (anew or owed) and self.kept.reported_within(written, _HOUR if troubled else _DAY):
            return written
        try:
            return self.kept.reported(written, keep_report(written, pair, verdict, self.rules, folder, self.settings))
        except Exception as error:  # the decision stands; that it can't be shown is an alarm
            log.warning("%s: the report of check %d can't be made: %s", written.model, written.id, error)
            said = error.message if isinstance(error, SigapError) else type(error).__name__
            return self.kept.unreported(written, f"The report can't be made, which is an alarm: {said}")


def summary(done: Sequence[Check]) -> dict[str, Any]:
    """What the checks found, plain JSON: for a block that hands it on."""
    named = {
        what: ", ".join(f"{each.model} ({each.subject})" for each in done if chosen(each))
        for what, chosen in _CHOSEN.items()
    }
    return {"checks": len(done), **named}


_CHOSEN: dict[str, Callable[[Check], bool]] = {
    "alarms": lambda check: check.alarm,
    "drifted": lambda check: check.drifted,
    "failed": lambda check: check.status == "failed",
    "too_few": lambda check: check.status == "too_few",
}
