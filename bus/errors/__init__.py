"""What can go wrong with a broker: client errors in, their meaning and the remedy out."""
