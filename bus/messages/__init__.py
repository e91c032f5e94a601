"""Forms of messages: values in, keys, headers and bytes out, and back."""
