"""Routes: settings of routes and mutes in, one router for each sink out."""
