"""Drift: whether the world that a champion meets is still the one that it was trained on."""
