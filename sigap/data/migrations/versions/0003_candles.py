"""Candles of an exchange, and the trades that the newest of them are made of."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # numeric without a scale: prices stay digit for digit what the exchange said. A table of that name which somebody
    # brought along stays as it is.
    op.execute(
        """
        DO $$
        BEGIN
            IF to_regclass('candles') IS NULL THEN
                CREATE TABLE candles (
                    product text NOT NULL,
                    step text NOT NULL,
                    opened_at timestamptz NOT NULL,
                    open numeric NOT NULL,
                    high numeric NOT NULL,
                    low numeric NOT NULL,
                    close numeric NOT NULL,
                    volume numeric NOT NULL,
                    origin text NOT NULL DEFAULT 'own'
                        CONSTRAINT candles_origin CHECK (origin IN ('own', 'import', 'mock', 'rest', 'trades')),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (product, step, opened_at)
                );
                CREATE TRIGGER candles_touch BEFORE UPDATE ON candles
                    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sigap_touch();
                COMMENT ON TABLE candles IS 'Finished intervals only; an interval without a trade has no row.';
                COMMENT ON COLUMN candles.origin IS
                    'own: written by you; import: from a file; mock: made up, gives way to whatever is real; '
                    'rest: asked of the exchange; trades: added up from its trades.';
            END IF;
        END $$;

        CREATE TABLE trades (
            product text NOT NULL,
            trade_id bigint NOT NULL,
            traded_at timestamptz NOT NULL,
            price numeric NOT NULL CHECK (price > 0),
            size numeric NOT NULL CHECK (size > 0),
            side text NOT NULL CHECK (side IN ('buy', 'sell')),
            mock boolean NOT NULL DEFAULT false,
            PRIMARY KEY (product, trade_id)
        );
        CREATE INDEX trades_by_time ON trades (product, traded_at);
        COMMENT ON TABLE trades IS 'Staging: what the feed said, once each, until its candles are finished.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE trades, candles;")
