"""Commands on a fleet's rules: rule files in, a published version out, and back."""
