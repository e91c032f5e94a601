"""Commands on recorded events: takes a recording or a topic, prints events and alerts."""
