"""The ASGI application: forwards everything, observes a little, steers a few calls."""
