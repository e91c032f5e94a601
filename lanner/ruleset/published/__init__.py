"""Rules published to the fleet: a version's message in, verified rules out, and back."""
