"""People and their rights: identities and roles, tokens and sessions, and the ways to sign in."""
