"""Identity of hosts: signed messages in, verified or rejected messages out, before they are decoded."""
