"""Records of actions come in, from this host's file or a fleet's topics; the state of each action goes out."""
