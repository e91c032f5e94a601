"""Inventory of loaded packages: this host's processes in; their packages by root directory, and a CycloneDX BOM out."""
