"""Settings in, this host's key and the fleet's enrolled keys out."""
