"""Coverage of MITRE ATT&CK: takes rules, returns which techniques have rules and which lack them."""
