"""Watches what nobody else does: rows that change, runs that nobody follows, champions that nobody has checked yet."""
