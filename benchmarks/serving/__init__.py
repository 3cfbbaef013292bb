"""Serving side by side: requests a second, latencies, start and memory of the API and of other model servers."""
