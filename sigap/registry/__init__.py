"""MLflow: runs, versions, aliases and promotion."""
