"""Lints of whole conditions: what can't be true, what never applies, what another rule covers."""
