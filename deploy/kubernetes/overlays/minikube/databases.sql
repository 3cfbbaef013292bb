-- Once, when the volume is new: MLflow's tables lie beside Sigap's, in a database of their own.
CREATE DATABASE mlflow;
