"""Grafana's dashboards and alert rules as code: `python -m deploy.grafana` writes the files that Grafana reads."""
