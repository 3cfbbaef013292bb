"""Watches what nobody else does: rows that change, and runs that nobody follows."""
