"""What crosses the bus: events, alerts and rules in; Avro or JSON bytes out, and back. Imports no other package."""
