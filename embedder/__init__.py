"""The offline job: find, decode, embed, tag, publish."""
