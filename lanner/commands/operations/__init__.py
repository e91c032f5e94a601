"""Commands for those who operate Lanner: what a host supports, what a fleet needs."""
