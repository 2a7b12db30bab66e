"""What ``driftline doctor`` finds wrong with a deployment, and what mends it. It changes nothing."""
