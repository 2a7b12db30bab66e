"""The loop back to the model: drift, an action, a retraining, another version (README.md)."""
