"""The dashboard *Models*: which versions answer, how well, and whether the world has moved away from them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import ALARM, BAD, WARNING, Page, bars, graph, number, rows, states

_OF = 'model=~"$model"'
_RATE = "[$__rate_interval]"
_ANSWERED = f"rate(sigap_api_predictions_total{{{_OF}}}{_RATE})"
_SWAP = "sigap_api_model_swap_seconds"
_DAY = 86400


def models() -> Dashboard:
    """The dashboard."""
    page = Page("sigap-models", "Sigap / Models", "Versions, drift, live error, decisions and ages of every model.")
    page.variable("model", "Model", "sigap_api_model_info")
    page.annotation("Gate", f"sum by (model, outcome) (changes(sigap_gate_decisions_total{{{_OF}}}[1m])) > 0", "purple")
    page.row(
        "Versions",
        number(
            "Served",
            "Models that the API can answer for.",
            f"count(count by (model) (sigap_api_model_info{{{_OF}}}))",
        ),
        number(
            "Drifting",
            "Models with a drift alarm on.",
            f"count(max by (model) (sigap_drift_alarm{{{_OF}}}) == 1) or vector(0)",
            steps=((1, BAD),),
        ),
        number(
            "Answering worse",
            "Models whose live score is worse than it may be.",
            f"count(sigap_performance_alarm{{{_OF}}} == 1) or vector(0)",
            steps=((1, BAD),),
        ),
        number(
            "Oldest champion",
            "Since the training of the oldest one that is served. An alarm from 45 days.",
            f"time() - min(sigap_api_model_trained_timestamp_seconds{{{_OF}}})",
            unit="s",
            steps=((35 * _DAY, WARNING), (45 * _DAY, BAD)),
        ),
        number(
            "Promotions",
            "By the gate, as long as the table of decisions reaches back.",
            f'sum(sigap_gate_decisions_total{{{_OF}, outcome="promoted"}})',
        ),
        number(
            "Refusals",
            "By the gate: the challenger was not better, or not good enough.",
            f'sum(sigap_gate_decisions_total{{{_OF}, outcome="refused"}})',
        ),
        rows(
            "What is served",
            "Version, the data it was trained on, and whether it came from the registry or from the disk.",
            f"max by (model, model_version, data_version, loaded_from) (sigap_api_model_info{{{_OF}}})",
            columns={
                "model": "Model",
                "model_version": "Version",
                "data_version": "Data",
                "loaded_from": "Loaded from",
            },
            width=12,
        ),
        graph(
            "Predictions by version",
            "Predictions a second; a row of a batch or a file counts as one.",
            {
                "{{model}} {{model_version}}": f"sum by (model, model_version) ({_ANSWERED})",
            },
            unit="ops",
        ),
        graph(
            "Age of the champions",
            "Since their training.",
            {"{{model}}": f"time() - max by (model) (sigap_api_model_trained_timestamp_seconds{{{_OF}}})"},
            unit="s",
            steps=((45 * _DAY, BAD),),
        ),
        graph(
            "Answers by outcome",
            "Predictions a second by their cluster, class or segment: a shift here is the first that shows.",
            {
                "{{model}} {{cluster}}{{outcome}}": f"sum by (model, cluster, outcome) ({_ANSWERED})",
            },
            unit="ops",
            stacked=True,
        ),
    )
    page.row(
        "Drift",
        graph(
            "Share of drifted features",
            "At the last check, of live inputs and of the table, against the champion's own training snapshot.",
            {"{{model}} ({{subject}})": f"max by (model, subject) (sigap_drift_share{{{_OF}}})"},
            unit="percentunit",
            most=1,
        ),
        states(
            "Drift alarm",
            "On once several windows in a row say so. It asks for a retrain.",
            f"max by (model, subject) (sigap_drift_alarm{{{_OF}}})",
            legend="{{model}} ({{subject}})",
            words=ALARM,
        ),
        bars(
            "Features that moved most",
            "Effect size of each feature's drift at the last check.",
            f"topk(20, max by (model, subject, feature) (sigap_drift_feature{{{_OF}}}))",
            unit="short",
            legend="{{model}} ({{subject}}) {{feature}}",
        ),
        graph(
            "Rows looked at",
            "Size of the last window; too small a one decides nothing.",
            {"{{model}} ({{subject}})": f"max by (model, subject) (sigap_drift_rows{{{_OF}}})"},
            unit="short",
        ),
        graph(
            "Since the last check",
            'An alarm from an hour: no look at all is no "no drift".',
            {
                "{{model}} ({{subject}})": "time() - max by (model, subject)"
                f" (sigap_drift_last_check_timestamp_seconds{{{_OF}}})",
            },
            unit="s",
            steps=((3600, BAD),),
        ),
        graph(
            "Checks by result",
            "`computed`, `too_few` rows to decide, or `failed`, which counts as drift.",
            {"{{model}} {{status}}": f"sum by (model, status) (increase(sigap_drift_checks_total{{{_OF}}}[1h]))"},
            unit="short",
        ),
    )
    page.row(
        "Live error",
        graph(
            "Live score",
            "Of the served version, by outcomes that came later.",
            {"{{model}} {{metric}}": f"max by (model, metric) (sigap_live_score{{{_OF}}})"},
            unit="short",
            least=None,
        ),
        graph(
            "Its interval",
            "Lower and upper end.",
            {"{{model}} {{metric}} {{bound}}": f"max by (model, metric, bound) (sigap_live_score_bound{{{_OF}}})"},
            unit="short",
            least=None,
        ),
        states(
            "Performance alarm",
            "On while a live score is worse than it may be. It asks for a retrain.",
            f"max by (model) (sigap_performance_alarm{{{_OF}}})",
            legend="{{model}}",
            words=ALARM,
        ),
        graph(
            "Outcomes it rests on",
            "Predictions whose outcome is known, in the window of the last score.",
            {"{{model}} {{metric}}": f"max by (model, metric) (sigap_live_score_outcomes{{{_OF}}})"},
            unit="short",
        ),
    )
    page.row(
        "Outcomes",
        graph(
            "Outcomes received",
            "What became of predictions, a second, by what was made of it: recorded, known already, refused.",
            {
                "{{model}} {{status}}": f"sum by (model, status) (rate(sigap_api_outcomes_total{{{_OF}}}{_RATE}))",
            },
            unit="ops",
            width=24,
        ),
    )
    page.row(
        "Decisions and swaps",
        bars(
            "Gate decisions",
            "Since the table of decisions began.",
            f"max by (model, outcome) (sigap_gate_decisions_total{{{_OF}}})",
            unit="short",
            legend="{{model}} {{outcome}}",
        ),
        bars(
            "Retrains asked for",
            "By cause and by what was answered; a retrain waits while one runs, and for the cooldown.",
            f"max by (model, cause, decision) (sigap_retrains_total{{{_OF}}}) > 0 or sum(sigap_retrains_total) * 0",
            unit="short",
            legend="{{model}} {{cause}} {{decision}}",
        ),
        graph(
            "Versions put in service",
            "Loads of a bundle in the period of an hour, in all workers.",
            {"{{model}}": f"sum by (model) (increase(sigap_api_model_loads_total{{{_OF}}}[1h]))"},
            unit="short",
        ),
        graph(
            "Time of a swap",
            "From finding a version at its alias to serving it. Requests are answered by the old one meanwhile.",
            {
                "average": f"sum(increase({_SWAP}_sum{{{_OF}}}[1h])) / sum(increase({_SWAP}_count{{{_OF}}}[1h]))",
                "p95": f"histogram_quantile(0.95, sum by (le) (increase({_SWAP}_bucket{{{_OF}}}[1h])))",
            },
            unit="s",
        ),
        graph(
            "Looks at the registry that failed",
            "`registry`: MLflow was away; `bundle`: the version can't be served; `no_champion`: there is none.",
            {"{{model}} {{kind}}": f"sum by (model, kind) (rate(sigap_api_follow_faults_total{{{_OF}}}{_RATE}))"},
            unit="ops",
        ),
        graph(
            "The challenger in the shadow",
            "Requests that it answered too, by whether it decides the same. Only with SIGAP_SHADOW_ALIAS.",
            {"{{model}} {{result}}": f"sum by (model, result) (rate(sigap_api_shadow_answers_total{{{_OF}}}{_RATE}))"},
            unit="ops",
        ),
    )
    return page.build()
