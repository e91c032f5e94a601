"""Documents for SIEMs: an alert in, a JSON document in Falco's format, ECS or OCSF out."""
