"""Mage's time triggers without the runs that nobody is owed.

Mage 0.9.80 asks of a time trigger only whether it has a run since the period began. So a machine that sees the
project for the first time runs every monthly pipeline at once, beside the first training; and a month's run begins
while another of the same pipeline goes on, for each trigger looks at its own runs alone. Here a trigger owes a run for
no period that began before it was known here, waits while any run of its pipeline goes on, and owes none where one has
begun in this period.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mage_ai.data_preparation.models.triggers import ScheduleType
from mage_ai.orchestration.db.models.schedules import PipelineRun, PipelineSchedule

_CAME_TO_NOTHING = (PipelineRun.PipelineRunStatus.FAILED, PipelineRun.PipelineRunStatus.CANCELLED)
_GOING_ON = (PipelineRun.PipelineRunStatus.INITIAL, PipelineRun.PipelineRunStatus.RUNNING)


def install() -> None:
    """Makes Mage's scheduler ask this first."""
    should_schedule = PipelineSchedule.should_schedule

    def owes_a_run(self: Any, *values: Any, **named: Any) -> bool:
        return bool(should_schedule(self, *values, **named)) and is_owed(self)

    PipelineSchedule.should_schedule = owes_a_run


def is_owed(schedule: Any) -> bool:
    """Whether a trigger whose time has come owes a run."""
    if schedule.schedule_type != ScheduleType.TIME:
        return True
    began = schedule.current_execution_date()
    if began is None or _utc(schedule.created_at) > _utc(began):
        return False
    runs = PipelineRun.query.filter(PipelineRun.pipeline_uuid == schedule.pipeline_uuid)
    if runs.filter(PipelineRun.status.in_(_GOING_ON)).count():
        return False
    since = runs.filter(PipelineRun.created_at >= began, PipelineRun.status.notin_(_CAME_TO_NOTHING))
    return not since.count()


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
