"""What each check for drift found, window by window and feature by feature."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Checks are ordered by id and never by time: a clock that jumps must not change which windows count.
    op.execute(
        """
        CREATE TABLE drift_checks (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            checked_at timestamptz NOT NULL DEFAULT now(),
            model_version text NOT NULL,
            subject text NOT NULL CHECK (subject IN ('live', 'table')),
            rows int NOT NULL,
            reference_rows int NOT NULL,
            status text NOT NULL CHECK (status IN ('computed', 'too_few', 'failed')),
            share double precision,
            drifted boolean NOT NULL,
            alarm boolean NOT NULL,
            reason text NOT NULL,
            report text,
            run_id text,
            last_prediction bigint,
            data_md5 text,
            details jsonb NOT NULL DEFAULT '{}'
        );
        CREATE INDEX drift_checks_newest ON drift_checks (model, subject, id DESC);
        COMMENT ON TABLE drift_checks IS 'Checks of champions for drift; the newest has the greatest id.';
        COMMENT ON COLUMN drift_checks.drifted IS 'This window alone; true where the check failed.';
        COMMENT ON COLUMN drift_checks.alarm IS 'After the persistence rule; at once where check or report failed.';
        COMMENT ON COLUMN drift_checks.report IS 'Folder of the report among the artefacts of run_id.';
        COMMENT ON COLUMN drift_checks.last_prediction IS 'Greatest predictions.id that this window used.';
        COMMENT ON COLUMN drift_checks.data_md5 IS 'Of the newest table as it was tested.';
        CREATE TABLE drift_features (
            check_id bigint NOT NULL REFERENCES drift_checks ON DELETE CASCADE,
            feature text NOT NULL,
            test text NOT NULL,
            statistic double precision NOT NULL,
            p double precision,
            p_adjusted double precision,
            effect double precision NOT NULL,
            effect_name text NOT NULL,
            drifted boolean NOT NULL,
            bins jsonb NOT NULL DEFAULT '{}',
            PRIMARY KEY (check_id, feature)
        );
        COMMENT ON COLUMN drift_features.bins IS 'Both distributions as counts, to be drawn.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE drift_features; DROP TABLE drift_checks")
