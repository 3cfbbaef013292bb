"""The prediction API: FastAPI over serving bundles that it follows in MLflow's registry."""
