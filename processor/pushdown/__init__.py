"""Pushdown: conditions of rules in, a filter that the kernel can evaluate out."""
