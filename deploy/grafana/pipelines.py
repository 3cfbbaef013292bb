"""The dashboard *Pipelines and data*: what Mage ran, and what it ran on."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import BAD, WARNING, Page, bars, graph, number

_OF = 'pipeline=~"$pipeline"'
_SECONDS = "sigap_pipeline_run_seconds"
_DAY = 86400


def pipelines() -> Dashboard:
    """The dashboard."""
    page = Page(
        "sigap-pipelines", "Sigap / Pipelines and data", "Runs of the pipelines, the tables and the prediction log."
    )
    page.variable("pipeline", "Pipeline", "sigap_pipeline_runs_total")
    page.row(
        "Now",
        number("Running", "Runs that go on.", f"sum(sigap_pipeline_running{{{_OF}}})"),
        number(
            "Failed in this period",
            "Runs that failed in the period that is shown.",
            f'sum(increase(sigap_pipeline_runs_total{{{_OF}, status="failed"}}[$__range]))',
            steps=((1, BAD),),
            decimals=0,
        ),
        number(
            "Completed in all",
            "As long as Mage remembers.",
            f'sum(sigap_pipeline_runs_total{{{_OF}, status="completed"}})',
        ),
        number(
            "Waiting predictions",
            "Predictions that wait to be written to PostgreSQL.",
            "sum(sigap_api_prediction_log_queue)",
            steps=((5000, WARNING), (9000, BAD)),
        ),
        number(
            "Predictions lost",
            "Not kept in the period that is shown; they were answered.",
            "sum(increase(sigap_api_prediction_log_dropped_total[$__range])) or vector(0)",
            steps=((1, BAD),),
            decimals=0,
        ),
        number("Database", "Size of the database.", "max(sigap_database_bytes)", unit="bytes"),
    )
    page.row(
        "Pipelines",
        bars(
            "Runs",
            "By pipeline and how they ended, as long as Mage remembers.",
            f"max by (pipeline, status) (sigap_pipeline_runs_total{{{_OF}}})",
            unit="short",
            legend="{{pipeline}} {{status}}",
        ),
        graph(
            "Runs in an hour",
            "Runs that ended within the hour before, by how.",
            {"{{status}}": f"sum by (status) (increase(sigap_pipeline_runs_total{{{_OF}}}[1h]))"},
            unit="short",
            stacked=True,
        ),
        graph(
            "Duration of the last run",
            "From start to end of the last completed run.",
            {"{{pipeline}}": f"max by (pipeline) (sigap_pipeline_last_run_seconds{{{_OF}}})"},
            unit="s",
        ),
        graph(
            "Durations of all runs",
            "Average and quantiles of all completed runs that Mage remembers.",
            {
                "average": f"sum({_SECONDS}_sum{{{_OF}}}) / sum({_SECONDS}_count{{{_OF}}})",
                "p50": f"histogram_quantile(0.5, sum by (le) ({_SECONDS}_bucket{{{_OF}}}))",
                "p95": f"histogram_quantile(0.95, sum by (le) ({_SECONDS}_bucket{{{_OF}}}))",
            },
            unit="s",
        ),
        graph(
            "Since the last success",
            "By pipeline; the schedule is monthly, changes and alarms come between.",
            {"{{pipeline}}": f"time() - max by (pipeline) (sigap_pipeline_last_success_timestamp_seconds{{{_OF}}})"},
            unit="s",
            steps=((45 * _DAY, WARNING),),
        ),
        graph(
            "Since a running run moved",
            "Since a step began or ended, in runs that go on. An alarm from 15 minutes.",
            {"{{pipeline}}": f"time() - min by (pipeline) (sigap_pipeline_moved_timestamp_seconds{{{_OF}}})"},
            unit="s",
            steps=((720, WARNING), (900, BAD)),
        ),
    )
    page.row(
        "Data",
        bars(
            "Rows",
            "Of each model's table, as PostgreSQL estimates them.",
            "max by (model) (sigap_data_rows)",
            unit="short",
            legend="{{model}}",
        ),
        graph(
            "Since the last load",
            "Since rows were loaded into the model's table: seed, import, exchange.",
            {"{{model}}": "time() - max by (model) (sigap_data_loaded_timestamp_seconds)"},
            unit="s",
        ),
        graph(
            "Age of the newest row",
            "Of a series: how far behind it is.",
            {"{{model}}": "time() - max by (model) (sigap_data_newest_timestamp_seconds)"},
            unit="s",
        ),
        graph(
            "Size of the database",
            "All tables with their indexes.",
            {"bytes": "max(sigap_database_bytes)"},
            unit="bytes",
        ),
    )
    page.row(
        "Prediction log",
        graph(
            "Written",
            "Predictions that PostgreSQL took, a second.",
            {"written": "sum(rate(sigap_api_prediction_log_written_total[$__rate_interval]))"},
            unit="ops",
        ),
        graph(
            "Waiting",
            "Predictions in the queues of all workers. What comes when a queue is full is dropped, and counted.",
            {"waiting": "sum(sigap_api_prediction_log_queue)"},
            unit="short",
        ),
        graph(
            "Dropped",
            "`full`: the queue was; `refused`: by the database; `stopped`: the API ended first.",
            {"{{reason}}": "sum by (reason) (rate(sigap_api_prediction_log_dropped_total[$__rate_interval]))"},
            unit="ops",
        ),
        graph(
            "Batches that had to wait",
            "Writes that failed and are tried again.",
            {"failures": "sum(rate(sigap_api_prediction_log_failures_total[$__rate_interval]))"},
            unit="ops",
        ),
    )
    return page.build()
