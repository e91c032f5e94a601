"""Rules as values: loaded rules and correlations in, a plan of the parts for detection and for windows out."""
