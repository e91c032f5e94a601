"""The wire format: values in, Avro bytes out, and back."""
