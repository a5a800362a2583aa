"""What is known about every track, on disk: the library, the snapshot, links to the server's songs."""
