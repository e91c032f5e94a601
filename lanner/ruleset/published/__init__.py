"""Rules published to the fleet: takes a version's message, returns verified rules; and publishes them."""
