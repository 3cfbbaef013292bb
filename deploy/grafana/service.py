"""The dashboard *Service*: how the API answers."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import ALARM, BAD, UP, WARNING, Page, bars, graph, number, states

# Of the routes that are chosen.
_OF = 'job="sigap-api", route=~"$route"'
_RATE = "[$__rate_interval]"
_SLOW = ((0.05, WARNING), (0.1, BAD))
_FAILING = ((0.001, WARNING), (0.01, BAD))
_PREDICT = 'route=~".*predict[^/]*"'


def _quantile(share: float, by: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate(sigap_api_request_seconds_bucket{{{_OF}}}{_RATE})))"


def service() -> Dashboard:
    """The dashboard."""
    page = Page(
        "sigap-service", "Sigap / Service", "Requests, latency and errors of the API, and what its processes take."
    )
    page.variable("route", "Endpoint", "sigap_api_requests_total")
    page.annotation(
        "New champion", "sum by (model) (changes(sigap_api_model_loaded_timestamp_seconds[1m])) > 0", "purple"
    )
    page.row(
        "Now",
        number(
            "Requests",
            "Answered requests a second.",
            f"sum(rate(sigap_api_requests_total{{{_OF}}}{_RATE}))",
            unit="reqps",
            decimals=1,
        ),
        number(
            "Failing",
            "Share of the requests that were answered with a status of 500 or above. An alarm from 1 %.",
            f'(sum(rate(sigap_api_requests_total{{{_OF}, status=~"5.."}}{_RATE})) or vector(0))'
            f" / sum(rate(sigap_api_requests_total{{{_OF}}}{_RATE}))",
            unit="percentunit",
            steps=_FAILING,
        ),
        number(
            "p99 of predictions",
            "One prediction of a hundred takes longer. An alarm from 100 ms.",
            f"histogram_quantile(0.99, sum by (le) (rate(sigap_api_request_seconds_bucket{{{_PREDICT}}}[5m])))",
            unit="s",
            steps=_SLOW,
        ),
        number("In flight", "Requests that are being answered, in all workers.", "sum(sigap_api_requests_in_progress)"),
        number("Workers", "Processes that answer.", 'count(process_start_time_seconds{job="sigap-api"})'),
        number(
            "Up since",
            "Since the oldest worker was started.",
            'time() - min(process_start_time_seconds{job="sigap-api"})',
            unit="s",
        ),
    )
    page.row(
        "Requests",
        graph(
            "Requests by endpoint",
            "Answered requests a second, by the pattern of their path. Paths that nobody serves are `unmatched`.",
            {"{{route}}": f"sum by (route) (rate(sigap_api_requests_total{{{_OF}}}{_RATE}))"},
            unit="reqps",
            stacked=True,
        ),
        graph(
            "Requests by status",
            "Answered requests a second, by HTTP status.",
            {"{{status}}": f"sum by (status) (rate(sigap_api_requests_total{{{_OF}}}{_RATE}))"},
            unit="reqps",
            stacked=True,
        ),
        bars(
            "Requests in this period",
            "How often each endpoint answered in the period that is shown.",
            f"topk(15, sum by (route) (increase(sigap_api_requests_total{{{_OF}}}[$__range])))",
            unit="short",
            legend="{{route}}",
        ),
        graph(
            "In flight",
            "Requests that are being answered at the moment of the look.",
            {"in flight": "sum(sigap_api_requests_in_progress)"},
            unit="short",
        ),
    )
    page.row(
        "Latency",
        graph(
            "Latency",
            "From a request's head to its answer's end. The quantiles are estimated from a histogram.",
            {
                "average": f"sum(rate(sigap_api_request_seconds_sum{{{_OF}}}{_RATE}))"
                f" / sum(rate(sigap_api_request_seconds_count{{{_OF}}}{_RATE}))",
                "p50": _quantile(0.5),
                "p95": _quantile(0.95),
                "p99": _quantile(0.99),
            },
            unit="s",
            steps=_SLOW,
        ),
        graph(
            "p99 by endpoint",
            "One request of a hundred takes longer.",
            {"{{route}}": _quantile(0.99, ", route")},
            unit="s",
            steps=_SLOW,
        ),
    )
    page.row(
        "Errors",
        graph(
            "Errors by kind",
            "`input`: the request was wrong; `access`: no or a wrong token; `nothing`: no such thing; "
            "`limit`: too many; `unavailable`: nothing to answer with; `fault`: the API's own.",
            {"{{kind}}": f"sum by (kind) (rate(sigap_api_errors_total{_RATE}))"},
            unit="reqps",
            stacked=True,
        ),
        graph(
            "Turned away",
            "Requests that the guard refused before they were read, by why.",
            {"{{reason}}": f"sum by (reason) (rate(sigap_api_refused_total{_RATE}))"},
            unit="reqps",
            stacked=True,
        ),
    )
    page.row(
        "Processes",
        graph(
            "Memory",
            "Resident memory of each worker.",
            {"worker {{worker}}": 'process_resident_memory_bytes{job="sigap-api"}'},
            unit="bytes",
        ),
        graph(
            "Processor",
            "Cores that each worker keeps busy; one is the most that a worker can use for predictions.",
            {"worker {{worker}}": f'rate(process_cpu_seconds_total{{job="sigap-api"}}{_RATE})'},
            unit="short",
        ),
        graph(
            "Open files and connections",
            "File descriptors of each worker, and how many it may have.",
            {
                "worker {{worker}}": 'process_open_fds{job="sigap-api"}',
                "limit": 'min(process_max_fds{job="sigap-api"})',
            },
            unit="short",
        ),
        states(
            "Alarms",
            "Which alarms of Prometheus are on.",
            'max by (alertname) (ALERTS{alertstate="firing"}) or label_replace(vector(0), "alertname", "any", "", "")',
            legend="{{alertname}}",
            words=ALARM,
        ),
    )
    page.row(
        "What the API needs",
        states(
            "Services",
            "Whether PostgreSQL, MLflow and Mage answer. Predictions need none of them.",
            "max by (dependency) (sigap_dependency_up)",
            legend="{{dependency}}",
            words=UP,
        ),
        graph(
            "How long a look takes",
            "At a service's health and figures, every ten seconds.",
            {"{{dependency}}": "max by (dependency) (sigap_dependency_seconds)"},
            unit="s",
        ),
    )
    return page.build()
