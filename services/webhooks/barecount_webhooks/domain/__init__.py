"""Pure: when to try again, how fast an endpoint is called, what is signed."""
