"""Charts, a module a kind; `charts.<name>_figure` makes one of them."""

from frontend.charts.coast import MAP_BAR
from frontend.charts.flows import flows_figure
from frontend.charts.forecast import forecast_figure
from frontend.charts.frame import NO_BAR, axis_title, base, facts, mark_baseline, spread
from frontend.charts.map import map_figure
from frontend.charts.radar import radar_figure, scaled
from frontend.charts.regions import regions_figure
from frontend.charts.scatter import scatter_figure
from frontend.charts.strips import strips_figure
from frontend.charts.sweep import sweep_figure, tried_figure
from frontend.charts.tiles import tiles_figure

__all__ = [
    "MAP_BAR",
    "NO_BAR",
    "axis_title",
    "base",
    "facts",
    "flows_figure",
    "forecast_figure",
    "map_figure",
    "mark_baseline",
    "radar_figure",
    "regions_figure",
    "scaled",
    "scatter_figure",
    "spread",
    "strips_figure",
    "sweep_figure",
    "tiles_figure",
    "tried_figure",
]
