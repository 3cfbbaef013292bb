"""What the API was asked and what it answered, by the version that answered."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No unique key over request_id: a client may send the same id twice, and what a lost connection left unsure is
    # written again.
    op.execute(
        """
        CREATE TABLE predictions (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL,
            model text NOT NULL,
            model_version text NOT NULL,
            request_id text NOT NULL,
            principal text NOT NULL DEFAULT '',
            shadow boolean NOT NULL DEFAULT false,
            latency_ms real,
            fields jsonb NOT NULL,
            answer jsonb NOT NULL
        );
        CREATE INDEX predictions_request ON predictions (request_id);
        CREATE INDEX predictions_model ON predictions (model, at);
        CREATE INDEX predictions_at ON predictions USING brin (at);
        COMMENT ON TABLE predictions IS
            'Predictions of the API. Personal fields are keyed hashes or left out; old rows are deleted by the API.';
        COMMENT ON COLUMN predictions.shadow IS 'Answered beside the champion and never returned to the client.';
        COMMENT ON COLUMN predictions.answer IS 'Without what is the same for every answer of the version.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE predictions")
