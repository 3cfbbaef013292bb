"""Mage's project: thin blocks that call `sigap.workflow`, and one short pipeline file a model."""
