"""Training: from a snapshot to a chosen model, its bundle and its report, without a server."""
