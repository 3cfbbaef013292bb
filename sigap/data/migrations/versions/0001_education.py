"""The education table, the provinces, the breaks in their figures, and what has been seeded."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A table of that name which somebody brought along stays as it is: it gets no trigger and no key from us, and
    # the contract says what of it can be used.
    op.execute(
        """
        CREATE FUNCTION sigap_touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.updated_at := now();
            RETURN NEW;
        END $$;

        DO $$
        BEGIN
            IF to_regclass('education_data') IS NULL THEN
                CREATE TABLE education_data (
                    provinsi_id text NOT NULL,
                    provinsi text NOT NULL,
                    tahun integer NOT NULL,
                    angka_melek_huruf double precision,
                    rata_lama_sekolah double precision,
                    harapan_lama_sekolah double precision,
                    rasio_guru_murid double precision,
                    anggaran_pendidikan_persen double precision,
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (provinsi_id, tahun)
                );
                CREATE TRIGGER education_data_touch BEFORE UPDATE ON education_data
                    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sigap_touch();
            END IF;
        END $$;

        CREATE TABLE IF NOT EXISTS provinces (
            provinsi_id text PRIMARY KEY,
            kode_bps text NOT NULL,
            kode_kemendagri text NOT NULL,
            provinsi text NOT NULL,
            ibukota text NOT NULL,
            lat double precision NOT NULL,
            lon double precision NOT NULL,
            alias text NOT NULL DEFAULT ''
        );
        COMMENT ON COLUMN provinces.kode_kemendagri IS
            'Not the BPS code: 91 is Papua Barat for BPS and Papua for Kemendagri. Join on provinsi_id.';

        CREATE TABLE IF NOT EXISTS definition_breaks (
            provinsi_id text NOT NULL,
            tahun integer NOT NULL,
            keterangan_id text NOT NULL,
            keterangan_en text NOT NULL,
            PRIMARY KEY (provinsi_id, tahun)
        );
        COMMENT ON TABLE definition_breaks IS
            'From this year on the figures of the province are of another territory or definition than before.';

        CREATE TABLE seeds (
            name text PRIMARY KEY,
            sha256 text NOT NULL,
            rows_inserted integer NOT NULL,
            seeded_at timestamptz NOT NULL DEFAULT now()
        );
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE seeds, definition_breaks, provinces, education_data;
        DROP FUNCTION sigap_touch();
        """
    )
