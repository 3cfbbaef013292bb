"""What became of what was predicted, and how well the served models did by it."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An outcome belongs to one prediction, a prediction has one outcome: nothing can be counted twice. It goes with
    # its prediction when that is deleted by its age.
    op.execute(
        """
        ALTER TABLE predictions ADD COLUMN "row" integer NOT NULL DEFAULT 0;
        CREATE INDEX predictions_request_row ON predictions (request_id, "row");
        DROP INDEX predictions_request;
        COMMENT ON COLUMN predictions."row" IS 'Which row of a batch, counted from 1; 0 of a single request.';

        CREATE TABLE outcomes (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            prediction_id bigint NOT NULL UNIQUE REFERENCES predictions (id) ON DELETE CASCADE,
            model text NOT NULL,
            value jsonb NOT NULL,
            observed_at timestamptz NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            source text NOT NULL DEFAULT 'client' CHECK (source IN ('client', 'table')),
            principal text NOT NULL DEFAULT '',
            corrected integer NOT NULL DEFAULT 0
        );
        CREATE INDEX outcomes_model ON outcomes (model, observed_at);
        COMMENT ON TABLE outcomes IS 'What became of a prediction: a number, or whether the answer was yes.';
        COMMENT ON COLUMN outcomes.source IS 'client: sent to the API; table: read from the table''s own target.';
        COMMENT ON COLUMN outcomes.principal IS 'Name of the key that sent it; empty without one.';
        COMMENT ON COLUMN outcomes.corrected IS 'How often another value has taken its place.';

        CREATE TABLE live_scores (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            model_version text NOT NULL,
            computed_at timestamptz NOT NULL,
            window_from timestamptz NOT NULL,
            window_to timestamptz NOT NULL,
            metric text NOT NULL,
            value double precision,
            low double precision,
            high double precision,
            n integer NOT NULL,
            promised double precision,
            promised_sd double precision,
            decisive boolean NOT NULL DEFAULT false,
            worse boolean NOT NULL DEFAULT false,
            alarm boolean NOT NULL DEFAULT false,
            reason text NOT NULL DEFAULT '',
            detail jsonb NOT NULL DEFAULT '{}'
        );
        CREATE INDEX live_scores_model ON live_scores (model, id DESC);
        COMMENT ON TABLE live_scores IS 'How well served versions did by the outcomes of a window, a row a metric.';
        COMMENT ON COLUMN live_scores.decisive IS 'Whether the alarm is decided on this metric.';
        COMMENT ON COLUMN live_scores.worse IS 'Here worse than promised beyond doubt, or not computable.';
        COMMENT ON COLUMN live_scores.alarm IS 'The same on all rows of a computation: worse often enough of late.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE live_scores, outcomes;
        CREATE INDEX predictions_request ON predictions (request_id);
        DROP INDEX predictions_request_row;
        ALTER TABLE predictions DROP COLUMN "row";
        """
    )
