"""The Subsonic protocol: parameters, envelopes, errors, ids, and a small client."""
