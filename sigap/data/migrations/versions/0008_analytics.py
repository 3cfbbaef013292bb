"""Read-only views for BI tools in a schema of their own, a role that may read them, and the levels that they show."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# View -> its sentence, and column -> (what it selects, its sentence). `docs/analytics.md` shows the same table.
_PREDICTIONS = {
    "prediction_id": ("p.id", "Number of the kept prediction."),
    "predicted_at": ("p.at", "When it was answered."),
    "model": ("p.model", "Name of the model."),
    "model_version": ("p.model_version", "Version that answered, such as v3."),
    "batch_row": ('NULLIF(p."row", 0)', "Row of a batch, counted from 1; null of a single request."),
    "is_shadow": (
        "p.shadow",
        "Computed beside the champion, never returned: leave it out of figures of the service.",
    ),
    "latency_ms": (
        "p.latency_ms::double precision",
        "Milliseconds from request to answer; null where not timed.",
    ),
    "answer": (
        "COALESCE(p.answer ->> 'cluster_label', p.answer ->> 'prediction', p.answer ->> 'segment',"
        " p.answer ->> 'direction')",
        "The answer in words: level, decision, segment or direction.",
    ),
    "level": ("(p.answer ->> 'cluster')::integer", "Number of the level or segment; 0 is the highest readiness."),
    "distance_to_center": (
        "(p.answer ->> 'distance_to_center')::double precision",
        "Distance to the centre, in standard deviations.",
    ),
    "is_approved": (
        "COALESCE((p.answer ->> 'is_approved')::boolean, (p.answer ->> 'prediction_code')::integer = 1)",
        "Whether the answer of an approval is yes.",
    ),
    "probability": ("(p.answer ->> 'probability')::double precision", "Probability of yes, by the model, 0 to 1."),
    "value": (
        "(SELECT each.value::text::double precision FROM jsonb_each(p.answer) AS each"
        " WHERE p.answer ? 'interval' AND jsonb_typeof(each.value) = 'number'"
        " AND each.key <> 'naive_forecast' LIMIT 1)",
        "The predicted number of a regression or forecast, in the target's unit.",
    ),
    "value_low": ("(p.answer #>> '{interval,low}')::double precision", "Lower end of its interval."),
    "value_high": ("(p.answer #>> '{interval,high}')::double precision", "Upper end of its interval."),
    "outcome_at": ("o.observed_at", "When it was seen what became of it; null while nobody told."),
    "outcome_value": (
        "CASE jsonb_typeof(o.value) WHEN 'number' THEN o.value::text::double precision END",
        "The number that came true.",
    ),
    "outcome_is_yes": (
        "CASE jsonb_typeof(o.value) WHEN 'boolean' THEN o.value::text::boolean END",
        "Whether an approval turned out well.",
    ),
}
_LEVELS = {
    "model": ("l.model", "Name of the model."),
    "model_version": ("l.model_version", "Version that judged; one version judges all periods."),
    "is_served": (
        "COALESCE(l.model_version = (SELECT d.champion_after FROM decisions AS d WHERE d.model = l.model"
        " ORDER BY d.id DESC LIMIT 1), false)",
        "Whether that version is the champion after the newest decision.",
    ),
    "entity": ("l.entity", "Key of who is judged, such as a province's code."),
    "entity_name": ("l.name", "Its name."),
    "period": ("l.period", "Period of the figures, such as a year; null where the data has none."),
    "is_newest": (
        "l.period IS NOT DISTINCT FROM max(l.period) OVER (PARTITION BY l.model, l.model_version)",
        "Whether it is the newest period that this version saw.",
    ),
    "level": ("l.level", "Number of the level, 0 is the best; null where a figure was not published."),
    "level_label_id": ("l.label_id", "The level in Indonesian."),
    "level_label_en": ("l.label_en", "The level in English."),
    "distance_to_center": ("l.distance", "Distance to the level's centre in the newest period; null in earlier ones."),
    "recorded_at": ("l.recorded_at", "When it was written down."),
}
_DECISIONS = {
    "decision_id": ("d.id", "Number of the decision; a greater one is later."),
    "decided_at": ("d.decided_at", "When it was taken."),
    "model": ("d.model", "Name of the model."),
    "model_version": ("NULLIF(d.model_version, '')", "Version decided on; null where nothing could be registered."),
    "is_promoted": ("d.promoted", "Whether it came to be served by this decision."),
    "rule": ("d.rule", "The rule that decided, such as first, better, equal, rollback."),
    "reason": ("d.reason #>> '{}'", "The same as a sentence."),
    "mode": ("d.mode", "auto, or manual where a person has to approve."),
    "asked_by": (
        "split_part(d.asked_by, ':', 1)",
        "What asked: change, schedule, alert, api, person, pipeline; never who.",
    ),
    "champion_before": ("d.champion_before", "Version served before; null where none was."),
    "champion_after": ("d.champion_after", "Version served afterwards; null where none is."),
    "data_version": ("NULLIF(d.data_version, '')", "Data version it was trained on."),
    "data_origin": (
        "NULLIF(d.record ->> 'origin', '')",
        "Where the data came from, such as mock.",
    ),
    "rows": ("(d.record ->> 'rows')::bigint", "Rows it was trained on; null where not told."),
    "score_metric": ("d.record #>> '{score,metric}'", "What the model was chosen by."),
    "score": ("(d.record #>> '{score,score}')::double precision", "Its mean over the folds."),
    "baseline_score": (
        "(d.record #>> '{score,baseline}')::double precision",
        "The hardest baseline's.",
    ),
}
_DRIFT = {
    "check_id": ("c.id", "Number of the check; a greater one is later."),
    "checked_at": ("c.checked_at", "When it was made."),
    "model": ("c.model", "Name of the model."),
    "model_version": ("c.model_version", "The champion whose training data is the reference."),
    "subject": ("c.subject", "live (inputs of the API) or table (newest rows)."),
    "status": ("c.status", "computed, too_few or failed."),
    "rows": ("c.rows", "Rows looked at."),
    "reference_rows": ("c.reference_rows", "Rows of the reference."),
    "drifted_share": ("c.share", "Drifted features per tested feature; null where it could not be told."),
    "is_drifted": ("c.drifted", "Whether this window alone drifted; true where the check failed."),
    "is_alarm": ("c.alarm", "Whether an alarm stands after several windows."),
    "feature": ("f.feature", "Tested feature; null in a check that tested none. A check has a row a feature."),
    "test": ("f.test", "Name of the test."),
    "statistic": ("f.statistic", "Its statistic."),
    "p_adjusted": ("f.p_adjusted", "Its p value, corrected for the number of features."),
    "effect": ("f.effect", "Size of the effect."),
    "effect_name": ("f.effect_name", "What the effect is measured in."),
    "feature_is_drifted": ("f.drifted", "Whether this feature drifted."),
}
_VIEWS = {
    "predictions": (
        "Predictions of the API and what became of them, without the request's fields and without who asked.",
        _PREDICTIONS,
        "predictions AS p LEFT JOIN outcomes AS o ON o.prediction_id = p.id",
    ),
    "levels": (
        "The level of every entity in every period, by version.",
        _LEVELS,
        "entity_levels AS l",
    ),
    "decisions": ("What the gate or a person decided about model versions.", _DECISIONS, "decisions AS d"),
    "drift": (
        "Checks for drift, a row a tested feature.",
        _DRIFT,
        "drift_checks AS c LEFT JOIN drift_features AS f ON f.check_id = c.id",
    ),
}


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE entity_levels (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            model_version text NOT NULL,
            bundle_sha256 text NOT NULL,
            entity text NOT NULL,
            name text NOT NULL,
            period integer,
            level integer,
            label_id text,
            label_en text,
            distance double precision,
            recorded_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE UNIQUE INDEX entity_levels_once
            ON entity_levels (model, model_version, entity, COALESCE(period, 0));
        COMMENT ON TABLE entity_levels IS
            'Who stands at which level by which version, as its bundle says; written once when it is decided on.';
        COMMENT ON COLUMN entity_levels.bundle_sha256 IS
            'Of the bundle''s manifest: a registry that began anew numbers its versions from v1 again.';
        CREATE SCHEMA analytics;
        COMMENT ON SCHEMA analytics IS 'Read-only views for BI tools; see docs/analytics.md.';
        """
    )
    for view, (sentence, columns, source) in _VIEWS.items():
        selected = ", ".join(f"{expression} AS {name}" for name, (expression, _) in columns.items())
        _run(f"CREATE VIEW analytics.{view} AS SELECT {selected} FROM {source}")  # noqa: S608 - the words above
        _run(f"COMMENT ON VIEW analytics.{view} IS {_quoted(sentence)}")
        for name, (_, told) in columns.items():
            _run(f"COMMENT ON COLUMN analytics.{view}.{name} IS {_quoted(told)}")
    _run(
        """
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sigap_analyst') THEN
                CREATE ROLE sigap_analyst NOLOGIN;
            END IF;
        EXCEPTION
            -- Roles are the whole server's: another database may just have made it, or ours may not make any.
            WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
        END $$
        """
    )
    _run(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sigap_analyst') THEN
                GRANT USAGE ON SCHEMA analytics TO sigap_analyst;
                GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO sigap_analyst;
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    # The role stays: another database of this server may need it.
    op.execute("DROP SCHEMA analytics CASCADE; DROP TABLE entity_levels")


def _run(statement: str) -> None:
    # Past SQLAlchemy's own reading, to which the colon of a cast may mean a parameter.
    op.get_bind().exec_driver_sql(statement)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
