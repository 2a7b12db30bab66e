"""What a model's signals look like against their reference; pure."""
