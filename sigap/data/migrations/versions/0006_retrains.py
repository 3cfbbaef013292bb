"""What was asked to be trained again and what came of it; what each model's table held when it was last judged."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE retrains (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            asked_at timestamptz NOT NULL DEFAULT now(),
            cause text NOT NULL CHECK (cause IN ('drift', 'performance', 'change', 'schedule', 'person')),
            fingerprint text NOT NULL UNIQUE,
            detail text NOT NULL DEFAULT '',
            decision text NOT NULL CHECK (
                decision IN ('started', 'refused_running', 'refused_cooldown', 'refused_cap', 'failed')),
            pipeline_run bigint,
            ended_at timestamptz,
            outcome text,
            asked_by text NOT NULL DEFAULT '',
            started_at timestamptz,
            attempts integer NOT NULL DEFAULT 0,
            model_version text,
            resolved_at timestamptz
        );
        CREATE INDEX retrains_model ON retrains (model, id);
        CREATE INDEX retrains_open ON retrains (id) WHERE decision = 'started' AND ended_at IS NULL;
        COMMENT ON TABLE retrains IS
            'Every time that somebody or something asked for a training, what was decided, and what came of it.';
        COMMENT ON COLUMN retrains.fingerprint IS 'The same one asked for again is the same request.';
        COMMENT ON COLUMN retrains.attempts IS 'How often it was started; what came to nothing may be again.';
        COMMENT ON COLUMN retrains.resolved_at IS 'When the alert that asked was resolved.';

        CREATE TABLE table_contents (
            model text PRIMARY KEY,
            digest text NOT NULL,
            counters text NOT NULL,
            read_at timestamptz NOT NULL
        );
        COMMENT ON TABLE table_contents IS
            'What the table of each model held when the data was read that its last decision is about.';
        COMMENT ON COLUMN table_contents.counters IS
            'PostgreSQL''s own counts of changed rows: while they stand still, nobody has to read the table.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE table_contents; DROP TABLE retrains")
