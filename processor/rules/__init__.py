"""Rules as values: loaded rules and correlations in, a plan of what one event and what windows decide out."""
