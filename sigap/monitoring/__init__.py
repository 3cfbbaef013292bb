"""How the served models fare: whether the world drifts away from them, and what became of their predictions."""
