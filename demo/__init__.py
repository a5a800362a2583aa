"""A small library of our own, a real Subsonic server, and AutoDJ choosing by ear."""
