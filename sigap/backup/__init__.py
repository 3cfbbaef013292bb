"""Backup and restore of what Git alone does not hold: databases, artefacts, data versions, and the state folder."""
