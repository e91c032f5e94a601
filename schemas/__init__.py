"""Everything that crosses the bus: events, alerts and rules in; Avro or JSON bytes out, and back."""
