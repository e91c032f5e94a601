"""Messages about hosts in, which hosts are known, trusted and silent out."""
