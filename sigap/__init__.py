"""Sigap: from a PostgreSQL table to a served, monitored, reproducible model, and back again."""

__version__ = "0.1.0"
