"""Stage 1: raw records to envelopes. Everything but the service and its sources is pure."""
