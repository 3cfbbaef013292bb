"""From a PostgreSQL table to a versioned snapshot: schema, seed, contract, snapshot, versions (DVC and Git)."""
