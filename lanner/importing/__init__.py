"""Settings of other tools, carried into ours as far as they go."""
