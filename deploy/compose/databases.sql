-- Beside POSTGRES_DB, at the first start of a fresh volume: the database of MLflow's tables.
CREATE DATABASE mlflow;
