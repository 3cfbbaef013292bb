"""${message}"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
additive = False  # True: code of the revision before runs on this schema too, so that a deployment can be taken back


def upgrade() -> None:
    op.execute("""${upgrades if upgrades else ""}""")


def downgrade() -> None:
    op.execute("""${downgrades if downgrades else ""}""")
