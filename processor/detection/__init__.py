"""Detection: one event in, one alert out."""
