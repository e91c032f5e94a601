"""Routes of alerts: settings in, compiled conditions and templates out."""
