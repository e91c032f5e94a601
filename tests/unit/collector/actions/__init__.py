"""Tests of collector.actions."""
