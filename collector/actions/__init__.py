"""Acts on this host: signed intents and decisions come in through a socket, and results go out."""
