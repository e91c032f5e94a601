"""Commands on recorded events: a recording or a topic in, events and alerts out."""
