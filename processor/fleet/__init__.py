"""The processor of a fleet, on Faust: messages of the events topic in, alerts out."""
