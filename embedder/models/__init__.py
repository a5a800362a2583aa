"""The models behind one registry."""
