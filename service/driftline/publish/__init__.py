"""The edges that tell others: alerts, rejects and commands as records, metrics, health, logs."""
