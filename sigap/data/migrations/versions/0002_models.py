"""The tables of the supervised models and of the customers, where rows came from, and what the gate decided."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Made only where there is none: a table of that name which somebody brought along stays as it is, and the contract
# says what of it can be used. `origin` tells made-up rows from real ones; what people write themselves is `own`.
_TABLES = {
    "cars": """
        car_id bigint PRIMARY KEY,
        wheelbase double precision, carlength double precision, carwidth double precision,
        curbweight integer, enginesize integer, boreratio double precision, horsepower integer,
        citympg integer, highwaympg integer,
        company_name text, fueltype text, aspiration text, doornumber text, carbody text, drivewheel text,
        enginetype text, cylindernumber text, fuelsystem text,
        price double precision
    """,
    "customers": """
        customer_id bigint PRIMARY KEY,
        gender text, ever_married text, age double precision, graduated text, profession text,
        work_experience double precision, spending_score text, family_size double precision, var_1 text
    """,
    "loan_applications": """
        loan_id text PRIMARY KEY,
        gender text, married text, dependents text, education text, self_employed text,
        applicant_income double precision, coapplicant_income double precision, loan_amount double precision,
        loan_amount_term double precision, credit_history double precision, property_area text,
        loan_status text
    """,
    "credit_applications": """
        application_id bigint PRIMARY KEY,
        age integer, annual_income double precision, credit_score integer, loan_amount double precision,
        loan_duration_years integer, number_of_open_accounts integer, had_past_default integer,
        approved integer
    """,
}


def upgrade() -> None:
    for table, columns in _TABLES.items():
        op.execute(
            f"""
            DO $$
            BEGIN
                IF to_regclass('{table}') IS NULL THEN
                    CREATE TABLE {table} (
                        {columns},
                        origin text NOT NULL DEFAULT 'own'
                            CONSTRAINT {table}_origin CHECK (origin IN ('own', 'import', 'mock')),
                        updated_at timestamptz NOT NULL DEFAULT now()
                    );
                    CREATE TRIGGER {table}_touch BEFORE UPDATE ON {table}
                        FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sigap_touch();
                    COMMENT ON COLUMN {table}.origin IS
                        'own: written by you; import: from a file; mock: made up, gives way to the first import.';
                END IF;
            END $$;
            """
        )
    op.execute(
        """
        CREATE TABLE loan_staging (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            batch text NOT NULL DEFAULT '',
            row_number bigint,
            loan_id text, gender text, married text, dependents text, education text, self_employed text,
            applicant_income text, coapplicant_income text, loan_amount text, loan_amount_term text,
            credit_history text, property_area text, loan_status text,
            staged_at timestamptz NOT NULL DEFAULT now(),
            loaded_at timestamptz
        );
        CREATE INDEX loan_staging_batch ON loan_staging (batch);
        COMMENT ON TABLE loan_staging IS
            'Loan applications as they arrive, all text; loaded into loan_applications or loan_rejects by batch.';
        COMMENT ON COLUMN loan_staging.batch IS 'What arrived together, in one scale of money.';

        CREATE TABLE loan_rejects (
            staging_id bigint NOT NULL,
            batch text NOT NULL,
            row_number bigint,
            loan_id text,
            field text NOT NULL,
            found text,
            expected text NOT NULL,
            rejected_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (staging_id, field)
        );
        CREATE INDEX loan_rejects_batch ON loan_rejects (batch);
        COMMENT ON TABLE loan_rejects IS 'Why a staged row did not get into loan_applications, one line a reason.';

        CREATE TABLE data_origin (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            table_name text NOT NULL,
            origin text NOT NULL CHECK (origin IN ('mock', 'import', 'seed', 'live')),
            file text NOT NULL DEFAULT '',
            sha256 text NOT NULL DEFAULT '',
            rows bigint NOT NULL,
            rejected bigint NOT NULL DEFAULT 0,
            details jsonb NOT NULL DEFAULT '{}',
            at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX data_origin_table ON data_origin (table_name, id);
        COMMENT ON TABLE data_origin IS 'What was loaded into a table; the rows themselves carry `origin`.';

        CREATE TABLE decisions (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            run_id text NOT NULL,
            model_version text NOT NULL,
            champion_before text,
            champion_after text,
            promoted boolean NOT NULL,
            rule text NOT NULL,
            reason jsonb NOT NULL,
            record jsonb NOT NULL,
            mode text NOT NULL DEFAULT 'auto' CHECK (mode IN ('auto', 'manual')),
            asked_by text NOT NULL DEFAULT '',
            data_version text NOT NULL DEFAULT '',
            data_md5 text NOT NULL DEFAULT '',
            decided_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (model, run_id, rule)
        );
        CREATE INDEX decisions_model ON decisions (model, id DESC);
        COMMENT ON TABLE decisions IS 'What the gate or a person decided about a model version, with its numbers.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE decisions, data_origin, loan_rejects, loan_staging")
    op.execute(f"DROP TABLE {', '.join(_TABLES)}")
