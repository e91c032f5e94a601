"""Sinks: alerts in, requests to services and delivery outcomes out."""
