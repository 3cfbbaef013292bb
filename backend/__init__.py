"""The prediction API: FastAPI over serving bundles that it follows in MLflow's registry."""

# Before anything imports one of its libraries with their extras.
from backend import lean as lean
