"""What is known about every track, on disk: library, snapshot, links to the server's songs."""
