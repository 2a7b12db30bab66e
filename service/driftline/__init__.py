"""Driftline watches machine-learning models in production: events in on Kafka, metrics and alerts out."""

__version__ = "0.1.0"
"""Kept equal to pyproject.toml's by tests/unit/test_packaging.py."""
