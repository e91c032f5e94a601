"""Message formats: values in; keys, headers and bytes out, and back."""
