"""The webhook sink: alerts in, HTTP requests and delivery outcomes out."""
