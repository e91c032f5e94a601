"""Who may do what: identities and roles, tokens and sessions, and the ways to sign in."""
