"""How the served models fare: live scores, and what became of their predictions."""
