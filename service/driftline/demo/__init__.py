"""The demonstration on real flights, and synthetic traffic for `driftline simulate`."""
