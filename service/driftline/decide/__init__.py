"""Findings to episodes to alerts under a stated budget; pure."""
